"""Scripted models for the loop. Frames carry no pixels: their digests say which image it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mira_batch.core import identity
from mira_batch.core.loop import run_record
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, Models, PolicyRequest, StepLog, Timed
from mira_batch.core.types import (
    EditTask,
    Frame,
    Limits,
    Trajectory,
)
from mira_batch.core.usage import Usage
from tests.support.runs.steplogs import MemoryStepLog

TASK = EditTask("r1", "w1", "make it nicer")
ORIGINAL = Frame(None, "o")
POLICY, EDITOR, JUDGE = Usage.of(policy=1, waiting=0.5), Usage.of(editor=2, waiting=0.25), Usage.of(judge=4)


def edits(*names: str) -> Callable[[PolicyRequest], str]:
    """Names these edits one after the other, by the number of steps so far, and then stops."""

    def answer(request: PolicyRequest) -> str:
        done = len(request.history)
        if done == len(names):
            return "<think>looks right</think><stop>done</stop>"
        return f"<think>{done} done</think><edit>{names[done]}</edit>"

    return answer


def appended(request: EditRequest) -> str:
    """An editor whose image is the list of its edits: o, oa, oab …"""
    return request.image.digest + request.instruction


@dataclass
class Fakes:
    """Models by plain functions, which may raise; every request is kept."""

    answer: Callable[[PolicyRequest], str]
    edit: Callable[[EditRequest], str] = appended
    score: Callable[[JudgeRequest], float | Judgement] | None = None
    """A score, or a whole judgement."""
    asked: list[PolicyRequest] = field(default_factory=list)
    edited: list[EditRequest] = field(default_factory=list)
    judged: list[JudgeRequest] = field(default_factory=list)

    async def _propose(self, request: PolicyRequest) -> Timed[str]:
        self.asked.append(request)
        return Timed(self.answer(request), POLICY)

    async def _edit(self, request: EditRequest) -> Timed[Frame]:
        self.edited.append(request)
        return Timed(Frame(None, self.edit(request)), EDITOR)

    async def _score(self, request: JudgeRequest) -> Timed[Judgement]:
        assert self.score is not None
        self.judged.append(request)
        found = self.score(request)
        return Timed(found if isinstance(found, Judgement) else Judgement(found), JUDGE)

    def run(
        self, limits: Limits | None = None, log: StepLog | None = None, task: EditTask | None = None
    ) -> Trajectory:
        models = Models(self._propose, self._edit, self._score if self.score else None)
        return asyncio.run(
            run_record(
                task or TASK, ORIGINAL, models, MemoryStepLog() if log is None else log, limits or Limits()
            )
        )


def by_candidate(scores: dict[str, float]) -> Callable[[JudgeRequest], float]:
    return lambda request: scores[request.candidate.digest]


def unsure(verdicts: dict[str, tuple[float, float]]) -> Callable[[JudgeRequest], Judgement]:
    """A judge by candidate: score and entropy."""

    def judge(request: JudgeRequest) -> Judgement:
        score, entropy = verdicts[request.candidate.digest]
        return Judgement(score, validity={"entropy": entropy})

    return judge


def by_attempt(request: EditRequest) -> str:
    """An editor whose image tells the attempt: edit "a" gives oa0, and with the next seed oa1."""
    draws = {identity.seed("w1", "editor", request.step, attempt): attempt for attempt in range(9)}
    return f"{appended(request)}{draws[request.seed]}"


def afters(trajectory: Trajectory) -> list[str]:
    return [logged.step.after for logged in trajectory.steps]


def untimed(trajectory: Trajectory) -> Trajectory:
    """Without what the clock and the resuming say, for comparison."""
    return replace(trajectory, usage=without_io(trajectory.usage), resumed_steps=0)


def without_io(usage: Usage) -> Usage:
    return replace(usage, seconds={name: value for name, value in usage.seconds.items() if name != "io"})


def failing_at(step: int, error: Exception) -> Callable[[EditRequest], str]:
    def edit(request: EditRequest) -> str:
        if request.step == step:
            raise error
        return appended(request)

    return edit
