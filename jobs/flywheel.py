"""A turn of the flywheel, as a cluster's scheduler runs it: from a catalogue to a policy that is promoted.

    ray job submit --working-dir . -- python jobs/flywheel.py --config flywheel.yaml

Takes what `mira-batch flywheel` takes. All places must be object stores or paths that every node sees. Its
stages are jobs of their own, with the workers that their sections ask for.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "flywheel")
    sys.exit(main())
