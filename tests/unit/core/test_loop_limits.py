"""Limits of the loop that are set: how many edits it makes, and how many may change nothing."""

from __future__ import annotations

import pytest

from mira_batch.core.types import Limits, Status, StopReason
from tests.support.models.loops import Fakes, afters, appended, edits


def test_a_loop_that_ends_after_so_many_edits_asks_no_more() -> None:
    fakes = Fakes(edits(*"abc"))
    trajectory = fakes.run(Limits(max_steps=2, end_after=2))
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.new_steps)
    assert (afters(trajectory), len(fakes.asked)) == (["oa", "oab"], 2)


@pytest.mark.parametrize(("allowed", "made"), [(1, 2), (2, 3), (3, 4)])
def test_how_many_edits_in_a_row_may_change_nothing_is_a_limit(allowed: int, made: int) -> None:
    fakes = Fakes(edits(*"abcdef"), lambda r: r.image.digest if r.step else appended(r))
    trajectory = fakes.run(Limits(no_progress=allowed))
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.no_progress)
    assert (len(trajectory.steps), len(fakes.asked)) == (made, made)


def test_without_that_limit_a_record_goes_on_until_the_policy_stops() -> None:
    trajectory = Fakes(edits(*"abcdef"), lambda r: r.image.digest).run(Limits(no_progress=None))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.policy_stop)
    assert afters(trajectory) == ["o"] * 6
