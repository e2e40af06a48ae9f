"""What a summary says of a run."""

from __future__ import annotations

import pytest

from mira_batch.core.receipts import RunSummary


def test_a_run_without_a_plan_is_not_complete() -> None:
    assert not RunSummary("out/r", "r").complete


@pytest.mark.parametrize(
    "summary",
    [
        RunSummary("out/r", "r", planned=4, committed=4),
        RunSummary("out/r", "r", plan="digest"),
        RunSummary("", "", plan="digest", skipped=4),
        RunSummary("out/r", "r", rejected=3),
        RunSummary("out/r", "r", skipped=3),
    ],
)
def test_a_plan_of_which_nothing_is_left_is_complete(summary: RunSummary) -> None:
    """Those of earlier releases have no digest, and some have nothing to run."""
    assert summary.complete


def test_where_results_are_is_said_of_runs_alone() -> None:
    assert RunSummary("out/r", "r").results == "out/r/results"
    assert not RunSummary("", "", plan="digest").results
