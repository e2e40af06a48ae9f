"""The loop and its log: resuming, and steps that another worker logged first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from mira_batch.core.identity import content_hash
from mira_batch.core.ports import Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import (
    EditTask,
    Frame,
    Limits,
    LoggedStep,
    StopReason,
)
from mira_batch.core.usage import Usage
from tests.support.models.loops import (
    EDITOR,
    TASK,
    Fakes,
    afters,
    appended,
    by_attempt,
    by_candidate,
    edits,
    untimed,
)
from tests.support.runs.steplogs import MemoryStepLog


class Interrupted(Exception):
    """Stands for the death of the process."""


class DyingLog(MemoryStepLog):
    """Raises at the append of one step, before or after it is written."""

    def __init__(self, dies_at: int, written: bool) -> None:
        super().__init__()
        self.dies_at = dies_at
        self.written = written

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        dies = logged.step.index == self.dies_at
        if dies and not self.written:
            raise Interrupted
        standing = await super().append(task, logged)
        if dies:
            raise Interrupted
        return standing


SCORES = {"oa0": 0.5, "oa0b0": 0.2, "oa0b1": 0.3, "oa0c0": 0.4, "oa0c1": 0.6, "oa0c1d0": 0.7}


def plain() -> Fakes:
    return Fakes(edits(*"abcd"))


def judged() -> Fakes:
    """Step 1 is rolled back and step 2 takes its second seed."""
    return Fakes(edits(*"abcd"), by_attempt, by_candidate(SCORES))


def going_nowhere() -> Fakes:
    return Fakes(edits(*"abcdef"), lambda r: r.image.digest if r.step > 1 else appended(r))


def doubted() -> Fakes:
    """Of an editor and a judge that are functions of what they see; some candidates leave doubts."""

    def judge(request: JudgeRequest) -> Judgement:
        drawn = int(content_hash(request.candidate.digest, size=4), 16) / 2**32
        score = min(1.0, 0.2 * len(request.candidate.digest) / 2 + 0.2 * drawn)
        return Judgement(score, validity={"entropy": drawn})

    return Fakes(edits(*"abcd"), by_attempt, judge)


LIMITS = Limits(attempts_per_step=2)


@pytest.mark.parametrize(
    ("make", "limits"),
    [
        (plain, LIMITS),
        (judged, LIMITS),
        (going_nowhere, LIMITS),
        (doubted, Limits(attempts_per_step=4, candidates=3)),
        (doubted, Limits(attempts_per_step=4, unsure_above=0.4)),
    ],
)
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("dies_at", range(4))
def test_a_resumed_record_equals_an_uninterrupted_one(
    make: Callable[[], Fakes], limits: Limits, written: bool, dies_at: int
) -> None:
    whole = make().run(limits)
    assert len(whole.steps) == 4
    log = DyingLog(dies_at, written)
    with pytest.raises(Interrupted):
        make().run(limits, log)
    second = make()
    resumed = second.run(limits, MemoryStepLog(log.held))
    assert untimed(resumed) == untimed(whole)
    assert resumed.resumed_steps == dies_at + written
    assert all(request.step >= dies_at + written for request in second.edited)


@pytest.mark.parametrize(
    ("limits", "reason", "questions"),
    [
        (Limits(max_steps=3), StopReason.max_steps, 1),  # whether that was all: no log has the answer
        (Limits(satisfied=0.6, attempts_per_step=2), StopReason.judge_satisfied, 0),
    ],
)
def test_a_record_that_had_ended_is_not_run_further(
    limits: Limits, reason: StopReason, questions: int
) -> None:
    log = MemoryStepLog()
    first = judged().run(limits, log)
    again = judged()
    resumed = again.run(limits, log)
    assert first.stop_reason is resumed.stop_reason is reason
    assert resumed.result.digest == first.result.digest
    assert len(again.asked) == questions and again.edited == []


class OtherWorkersLog(MemoryStepLog):
    """Another worker is always first at step 1, with another image."""

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        if logged.step.index == 1:
            theirs = replace(logged.step, after="theirs", seed=7, usage=Usage.of(editor=100))
            await super().append(task, LoggedStep(theirs, Frame(None, "theirs")))
        return await super().append(task, logged)


def test_a_step_that_another_worker_logged_first_is_adopted() -> None:
    fakes = Fakes(edits("a", "b", "c"))
    trajectory = fakes.run(log=OtherWorkersLog())
    assert afters(trajectory) == ["oa", "theirs", "theirsc"]
    assert trajectory.steps[1].step.seed == 7
    assert trajectory.steps[1].frame.digest == "theirs"
    assert fakes.asked[2].current.digest == "theirs"
    assert fakes.asked[2].history[1].after == "theirs"
    assert trajectory.usage["editor"] == 100 + 2 * EDITOR["editor"]


def test_every_step_is_logged_before_the_next_begins() -> None:
    log = MemoryStepLog()
    seen: list[Sequence[int]] = []

    def answer(request: PolicyRequest) -> str:
        seen.append(sorted(log.held.get(TASK.work_id, {})))
        return edits("a", "b")(request)

    Fakes(answer).run(log=log)
    assert seen == [[], [0], [0, 1]]
