"""Edits that a record carries out before its policy is asked: all of them, in order, each once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mira_batch.core import identity
from mira_batch.core.types import EditTask, LaidDown, Limits, Status, StopReason
from tests.support.models.loops import TASK, Fakes, afters, edits, untimed
from tests.support.runs.steplogs import MemoryStepLog

STEP = 2.25  # seconds of a laid-down step of the fakes: EDITOR alone, with its waiting


def lay(*words: str, first: int = 0, stop: bool = False) -> EditTask:
    return replace(TASK, laid_down=LaidDown(words, first, stop))


def test_the_policy_goes_on_after_edits_that_were_laid_down() -> None:
    fakes = Fakes(edits("-", "-", "c"))
    trajectory = fakes.run(task=lay("a", "b"))
    assert afters(trajectory) == ["oa", "oab", "oabc"]
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.policy_stop)
    assert [len(request.history) for request in fakes.asked] == [2, 3]
    raw = [(s.step.raw_answer, s.step.thought) for s in trajectory.steps]
    assert raw == [("", ""), ("", ""), ("<think>2 done</think><edit>c</edit>", "2 done")]
    assert [r.seed for r in fakes.edited] == [identity.seed("w1", "editor", step, 0) for step in range(3)]


@pytest.mark.parametrize("words", [("a", "b"), ()])
def test_a_record_that_stops_after_them_asks_nobody(words: tuple[str, ...]) -> None:
    fakes = Fakes(edits("never"))
    trajectory = fakes.run(task=lay(*words, stop=True))
    assert fakes.asked == [] and [r.instruction for r in fakes.edited] == list(words)
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.laid_down)


def test_no_guard_ends_a_record_before_all_of_them_are_made() -> None:
    fakes = Fakes(edits(), lambda request: request.image.digest)  # nothing changes anything
    trajectory = fakes.run(Limits(max_steps=2), task=lay("a", "b", "c", stop=True))
    assert (afters(trajectory), trajectory.stop_reason) == (["o"] * 3, StopReason.laid_down)
    assert fakes.run(Limits(max_steps=2), task=lay("a", "b", "c")).stop_reason is StopReason.no_progress


def test_only_the_limit_of_time_does() -> None:
    trajectory = Fakes(edits()).run(Limits(max_seconds=2 * STEP), task=lay("a", "b", "c", stop=True))
    assert (afters(trajectory), trajectory.stop_reason) == (["oa", "oab"], StopReason.time_limit)


@pytest.mark.parametrize("killed", [0, 1, 2, 3])
def test_a_record_that_goes_on_lays_down_the_rest(killed: int) -> None:
    """After a state of one step, with two edits laid down and one of the policy's own."""
    log, answer = MemoryStepLog(), edits("-", "-", "-", "d")
    trunk = Fakes(edits("t")).run()
    log.held["w1"] = {0: trunk.steps[0]}
    whole = Fakes(answer).run(log=log, task=lay("a", "b", first=1))
    assert afters(whole) == ["ot", "ota", "otab", "otabd"]
    log.held["w1"] = {step.step.index: step for step in whole.steps[: killed + 1]}
    fakes = Fakes(answer)
    again = fakes.run(log=log, task=lay("a", "b", first=1))
    assert afters(again) == afters(whole) and len(fakes.edited) == 3 - killed
    assert untimed(again).steps == untimed(whole).steps
