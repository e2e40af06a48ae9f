"""What endpoints charge is booked to the step it was spent on, also where it gave nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TypeVar

import pytest

from mira_batch.core.errors import RecordError
from mira_batch.core.loop import run_record
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, Models, PolicyRequest, Timed
from mira_batch.core.types import ErrorKind, Frame, Limits, Trajectory
from mira_batch.core.usage import Usage
from tests.support.models.loops import ORIGINAL, TASK, Fakes, edits
from tests.support.runs.steplogs import MemoryStepLog

T = TypeVar("T")


def charged(timed: Timed[T], dollars: float) -> Timed[T]:
    return replace(timed, usage=timed.usage + Usage(cost=dollars))


def run(fakes: Fakes, policy: float, editor: float, judge: float = 0.0, **limits: int) -> Trajectory:
    """Run with models that charge so much a call."""

    async def propose(request: PolicyRequest) -> Timed[str]:
        return charged(await fakes._propose(request), policy)

    async def edit(request: EditRequest) -> Timed[Frame]:
        return charged(await fakes._edit(request), editor)

    async def score(request: JudgeRequest) -> Timed[Judgement]:
        return Timed(Judgement(0.1), Usage(cost=judge))

    models = Models(propose, edit, score if judge else None)
    return asyncio.run(run_record(TASK, ORIGINAL, models, MemoryStepLog(), Limits(**limits)))


def test_each_step_has_its_price_and_the_stop_is_the_records() -> None:
    trajectory = run(Fakes(edits("a", "b")), policy=0.5, editor=2.0)
    assert [logged.step.usage.cost for logged in trajectory.steps] == [2.5, 2.5]
    assert trajectory.usage.cost == 5.5


def test_answers_that_were_malformed_and_tries_that_were_rejected_count() -> None:
    def answer(request: PolicyRequest) -> str:
        return "what?" if request.attempt == 0 else edits("a")(request)

    trajectory = run(Fakes(answer), policy=0.5, editor=2.0, judge=0.25, attempts_per_step=3)
    assert trajectory.steps[0].step.usage.cost == 0.5 * 2 + 2.0 + 0.25
    assert trajectory.usage.cost == trajectory.steps[0].step.usage.cost + 0.5 * 2


@pytest.mark.parametrize("charged", [0.0, 0.25])
def test_what_a_failure_cost_counts(charged: float) -> None:
    def refuse(request: EditRequest) -> str:
        raise RecordError(ErrorKind.editor_failed, "refused", charged)

    trajectory = run(Fakes(edits("a"), refuse), policy=0.5, editor=2.0)
    assert trajectory.failure is not None and trajectory.usage.cost == 0.5 + charged


def test_what_each_role_charged_is_known_also_of_a_failure() -> None:
    async def paid(role: str, dollars: float, value: T) -> Timed[T]:
        return Timed(value, Usage.paid(role, dollars))

    async def score(request: JudgeRequest) -> Timed[Judgement]:
        if request.edit == "b":
            raise RecordError(ErrorKind.judge_failed, "blind", 0.125)
        return await paid("judge", 0.25, Judgement(0.5))

    fakes = Fakes(edits("a", "b"))
    models = Models(
        lambda request: paid("policy", 0.5, fakes.answer(request)),
        lambda request: paid("editor", 2.0, Frame(None, fakes.edit(request))),
        score,
    )
    trajectory = asyncio.run(run_record(TASK, ORIGINAL, models, MemoryStepLog(), Limits()))
    assert trajectory.failure is not None
    assert trajectory.steps[0].step.usage.charges == {"policy": 0.5, "editor": 2.0, "judge": 0.25}
    assert trajectory.usage.charges == {"policy": 1.0, "editor": 4.0, "judge": 0.375}
    assert trajectory.usage.cost == 5.375
