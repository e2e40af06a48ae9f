"""Which commands there are, in the order of `--help`. The module of one is imported when it is called: any
other command, and help, would wait for all that it needs.
"""

from __future__ import annotations

import importlib
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from mira_batch.cli.app import app

COMMANDS = (
    (
        "diff",
        "catalogue",
        "Compare two runs: settings, records that came, went or have another result, and what each run cost.",
    ),
    (
        "retry",
        "catalogue",
        "Run records again: all that are not ok, or those of --where, or those that people have rejected.",
    ),
    (
        "reprocess",
        "catalogue",
        "Run what the catalogue has with other settings: all, or what --where says; perhaps a sample first.",
    ),
    (
        "forget",
        "catalogue",
        "Delete results that have been superseded, and snapshots but for those that are to be kept.",
    ),
    (
        "construct",
        "construct",
        "Make training data: sessions and trajectories become samples that policies learn from.",
    ),
    (
        "export-samples",
        "construct",
        "Hand samples to another trainer, in its own format and in the words that the policy is asked in.",
    ),
    ("counterfactual", "counterfactual", "Find which step ruined a trajectory, and what each was worth."),
    (
        "make-tiny",
        "runs",
        "Write tiny random models of the real classes, to rehearse a deployment without weights or a GPU.",
    ),
    (
        "validate",
        "runs",
        "Check everything that can be checked before spending: settings, manifest, store, models.",
    ),
    ("plan", "runs", "Say what a run would do, and why, before anything is spent or written."),
    ("run", "runs", "Run the job, going on from wherever an earlier call stopped."),
    (
        "inspect",
        "runs",
        "Look at every image before spending on it: format, size, colour, sharpness, borders, a row each.",
    ),
    ("status", "runs", "Say how far the run is, from its directory alone."),
    (
        "verify",
        "runs",
        "Check a run against its plan: every record once, every image whole, every chain of steps too.",
    ),
    (
        "clean",
        "runs",
        "Delete what a run no longer needs: step state of what is committed, and what killed processes left.",
    ),
    (
        "evaluate",
        "evaluate",
        "Have a judge score each result, and say what the scores come to, with intervals.",
    ),
    (
        "compare",
        "evaluate",
        "Compare two evaluations of the same records, record by record, and say which is better.",
    ),
    (
        "calibrate",
        "evaluate",
        "Hold a judge against people: how far they agree, from which score on results may be accepted "
        "unseen,\nand how many of all results are good.",
    ),
    (
        "export",
        "export",
        "Hand over good results: as image files, tars, Parquet with images, CSV, or as a table.",
    ),
    (
        "flywheel",
        "flywheel",
        "Learn from what was edited and what people said of it: a candidate is trained, tried on "
        "held-out\nrecords, compared with the current policy, and promoted where it passes the gate.",
    ),
    (
        "promote",
        "flywheel",
        "Promote an adapter, or roll back to an earlier promotion; with neither list what was promoted.",
    ),
    (
        "lineage",
        "flywheel",
        "Say what a model was made from: its training, its data, and the runs and records of these.",
    ),
    ("nightly", "nightly", "Run one night: what is new or changed, in a run that is named after the day."),
    (
        "explain",
        "records",
        "Say why a plan would run a record or leave it alone, and what runs have made of it.",
    ),
    (
        "show",
        "records",
        "Show what the loop did with a record: each step, its scores, and the images where the terminal can.",
    ),
    (
        "replay",
        "records",
        "Run a record once more as its run did, in this process, and say what comes out otherwise, and by "
        "which\ncomponent. Nothing is written.",
    ),
    ("report", "review", "Write the report of a run anew, or a page on which a person reviews its results."),
    (
        "decide",
        "review",
        "Take what a person has decided about a run's results, check it, and keep it beside them.",
    ),
    ("benchmark", "benchmark", "Benchmarks of image editing, and of judges."),
    ("catalogue", "catalogue", "What all runs under one output have made together."),
    ("train", "train", "Teach a policy, or an editor."),
)
"""Name, module, and what help says of it in its list: how its own help begins."""


class _Listed(TyperCommand):
    """A command as help lists it; calling it imports its module, whose commands enter `app`."""

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, callback=None, help=help)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which is run by it."""
        importlib.import_module(f"mira_batch.cli.{self._module}")
        from mira_batch.storage.arrow import defer_pandas  # help needs nothing of storage

        defer_pandas()
        return get_group(app).commands[info_name or ""].make_context(info_name, args, parent, **extra)


program = TyperGroup(
    commands=[_Listed(*row) for row in COMMANDS],
    help="Edit images in bulk by instruction: a policy names the edits, an editor carries them out.",
    no_args_is_help=True,
)
