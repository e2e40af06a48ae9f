"""Which step ruined a trajectory, as a cluster runs it.

    ray job submit --working-dir . -- python jobs/counterfactual.py --config counterfactual.yaml

Takes what `mira-batch counterfactual` takes; where it runs and what it needs is as with `bulk_edit.py`.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "counterfactual")
    sys.exit(main())
