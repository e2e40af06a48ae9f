"""What a candidate must not do, whatever its scores: leave more records without one."""

from __future__ import annotations

import pytest

from mira_batch.evaluate.compare import Comparison, Failures
from mira_batch.evaluate.statistics import Discordance
from mira_batch.train.flywheel.stages import check_gate, check_unscored


def compare_failures(no_result: tuple[int, int], judge_failed: tuple[int, int]) -> Comparison:
    told = Discordance(0, 0, 1.0)
    return Comparison(
        a="a",
        b="b",
        paired=200,
        only_a=0,
        only_b=0,
        asked_otherwise=0,
        scored=150,
        scores=(),
        groups={},
        effort=(),
        no_result=Failures(*no_result, told),
        judge_failed=Failures(*judge_failed, told),
        worst=(),
        pairwise=None,
        verdict="",
    )


@pytest.mark.parametrize(
    ("no_result", "judge_failed", "passed"),
    [((10, 10), (0, 0), True), ((10, 14), (0, 0), True), ((10, 14), (0, 1), False), ((50, 0), (0, 9), True)],
)
def test_records_without_a_score_are_counted_whatever_failed(
    no_result: tuple[int, int], judge_failed: tuple[int, int], passed: bool
) -> None:
    found = check_unscored(compare_failures(no_result, judge_failed), 0.02)
    assert found["passed"] is passed
    current, candidate = no_result[0] + judge_failed[0], no_result[1] + judge_failed[1]
    assert found["why"].endswith(", 2 % more of them are allowed")
    assert f"{current} of 200 by the current policy, {candidate} by the candidate" in found["why"]


def test_what_no_figure_shows_does_not_pass() -> None:
    found = check_gate("overall>=-1", compare_failures((0, 0), (0, 0)))
    assert not found["passed"] and found["why"].startswith("gate overall>=-1: not passed; there is no figure")
