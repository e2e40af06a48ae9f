"""The bulk edit job, as a cluster runs it.

    ray job submit --working-dir . -- python jobs/bulk_edit.py --config my.yaml

Takes what `mira-batch run` takes. The output must be an object store or a path that every node sees. On a
cluster RAY_ADDRESS is set by Ray and the pool runs there; the driver (this process) only reads the
manifest's rows, hands out shard names and counts receipts.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    sys.exit(main())
