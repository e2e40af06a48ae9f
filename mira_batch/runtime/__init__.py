"""Plan, pool and worker: the only package that imports ray."""

import os

# Ray reads this when it is imported. It keeps a Ray of our own on the loopback interface, where nobody
# else on the network can reach it; on a cluster (RAY_ADDRESS is set there) nodes must see each other.
if "RAY_ADDRESS" not in os.environ:
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
