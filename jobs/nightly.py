"""One night of a catalogue, as a cluster's scheduler runs it.

    ray job submit --working-dir . -- python jobs/nightly.py --config my.yaml

Takes what `mira-batch nightly` takes; where it runs and what it needs is as with `bulk_edit.py`. The driver
plans before any worker exists: a night in which nothing has changed starts none.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "nightly")
    sys.exit(main())
