"""The evaluate job, as a cluster runs it: a judge's score of each result.

    ray job submit --working-dir . -- python jobs/evaluate.py s3://bucket/edited --config configs/judge.yaml

Takes what `mira-batch evaluate` takes; where it runs and what it needs is as with `bulk_edit.py`.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    sys.exit(main())
