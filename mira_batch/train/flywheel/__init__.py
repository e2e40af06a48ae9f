"""The flywheel: turns from a catalogue and people's decisions to a policy that is promoted, or not.

A turn is a sequence of this package's own jobs. Each is durable, and what came of it is noted in the turn's
directory, create-only; so the same command goes on in the stage that an earlier call was in.
"""
