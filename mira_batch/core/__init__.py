"""What the loop is made of: types, ports, actions, identity and errors.

Nothing below this package imports anything but the standard library, so it can be read, tested and
reused without a single dependency.
"""
