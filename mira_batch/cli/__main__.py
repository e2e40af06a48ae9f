"""`python -m mira_batch.cli`: the same as `mira-batch`."""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.exit(main())
