"""Step logs for tests, and steps to put into them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, takewhile

from PIL import Image

from mira_batch.core.identity import frame_of
from mira_batch.core.types import Candidate, EditTask, Frame, LoggedStep, Step
from mira_batch.core.usage import Usage

Held = dict[str, dict[int, LoggedStep]]
"""What a memory log holds: work_id -> index -> step."""


class MemoryStepLog:
    """The reference `StepLog`. Logs that are opened on the same `held` share a history."""

    def __init__(self, held: Held | None = None) -> None:
        self.held: Held = {} if held is None else held

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        steps = self.held.get(task.work_id, {})
        whole = [steps[index] for index in takewhile(steps.__contains__, count())]
        self.held[task.work_id] = {logged.step.index: logged for logged in whole}
        return tuple(whole)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        return self.held.setdefault(task.work_id, {}).setdefault(logged.step.index, logged)


def a_task(name: str = "r1") -> EditTask:
    """A record whose work_id is of the real form: 32 hex digits."""
    return EditTask(name, name.encode().hex().ljust(32, "0"), "rotate it, then blur it")


def a_frame(colour: tuple[int, ...], size: tuple[int, int] = (3, 2)) -> Frame:
    """A plain image: RGB for three numbers, RGBA for four."""
    return frame_of(Image.new("RGB" if len(colour) == 3 else "RGBA", size, colour))


def a_history(length: int, original: Frame, rejected: tuple[int, ...] = ()) -> list[LoggedStep]:
    """Steps that follow from each other; those in `rejected` were rolled back."""
    history: list[LoggedStep] = []
    current = original
    for index in range(length):
        frame = a_frame((index, 100 + index, 200, 90 * (index % 2)))
        score = None if index == 1 else 0.1 * index
        tried = [
            Candidate(index, "another", 0.0, 1.25),
            Candidate(2**63 - 1 - index, frame.digest, score or 0.0),
        ]
        step = Step(
            index=index,
            thought="schön, as “thought” 🌅\n& done",
            instruction=f"edit {index}",
            raw_answer=f"<edit>edit {index}</edit>",
            seed=2**63 - 1 - index,
            attempt=index % 2,
            before=current.digest,
            after=frame.digest,
            accepted=index not in rejected,
            score=score,
            usage=Usage.of(policy=0.1, editor=1 / 3, judge=0.0, waiting=2.5, io=1e-6)
            + Usage.paid("judge", 0.125 * index),
            candidates=() if score is None else tuple(tried[1 - index % 2 :]),
        )
        history.append(LoggedStep(step, frame))
        current = frame if step.accepted else current
    return history


def another(logged: LoggedStep) -> LoggedStep:
    """The same step as another worker might have made it: another seed, other pixels."""
    frame = a_frame((1, 2, 3), (5, 4))
    return LoggedStep(replace(logged.step, seed=logged.step.seed - 1, after=frame.digest), frame)
