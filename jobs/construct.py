"""Training data of policies, as a cluster runs it: one process that streams, without workers of its own.

    ray job submit --working-dir . -- python jobs/construct.py --config construct.yaml

Takes what `mira-batch construct` takes; where it runs and what it needs is as with `bulk_edit.py`.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "construct")
    sys.exit(main())
