"""A catalogue, or a part of it, made again with other settings, as a cluster runs it.

    ray job submit --working-dir . -- python jobs/reprocess.py --config new.yaml --canary 500

Takes what `mira-batch reprocess` takes; where it runs and what it needs is as with `bulk_edit.py`.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "reprocess")
    sys.exit(main())
