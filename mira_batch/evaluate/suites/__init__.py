"""Benchmarks of image editing as a user runs them: their data sets, tables, and their own output layouts.

A file each: what its owners publish (`read`), how its figures are made of an evaluation (`tabulate`), where
its own script looks for results (`files`). `prepare.py` writes what jobs take, `prepared.py` finds it again,
`evidence.py` and `edits.py` put scores and results beside the items, so that none is lost from sight. Leaves
the arithmetic to `benchmarks/`, and running and judging to the jobs.
"""

from collections.abc import Mapping

from mira_batch.evaluate.suites.compass import COMPASS
from mira_batch.evaluate.suites.editscore import EDITSCORE
from mira_batch.evaluate.suites.gedit import GEDIT
from mira_batch.evaluate.suites.imgedit import IMGEDIT
from mira_batch.evaluate.suites.magicbrush import MAGICBRUSH
from mira_batch.evaluate.suites.suite import Suite
from mira_batch.evaluate.suites.tiger import TIGER

SUITES: Mapping[str, Suite] = {
    suite.name: suite for suite in (GEDIT, IMGEDIT, MAGICBRUSH, EDITSCORE, TIGER, COMPASS)
}
"""By the name that the commands take."""
