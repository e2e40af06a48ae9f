"""The inspect job, as a cluster runs it: facts of every image of a manifest, or of a run's results.

    ray job submit --working-dir . -- python jobs/inspect_catalogue.py s3://bucket/manifest.parquet -o s3://bucket/facts

Takes what `mira-batch inspect` takes; where it runs and what it needs is as with `bulk_edit.py`.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "inspect")
    sys.exit(main())
