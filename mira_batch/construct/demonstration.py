"""A trajectory to learn from, wherever it came from: a run of the edit job, or a session.

Owns what is right and wrong in it: which steps are no answers to learn, and why. Pure; images are encoded
bytes with the digest of their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Fault(StrEnum):
    """Why a step of a trajectory is no answer to learn. It stays in the history of the steps after it."""

    rejected = "rejected"
    """The judge rolled it back."""
    unchanged = "unchanged"
    """It left the image as it was."""
    undone = "undone"
    """A later step brought the image back to what it was before."""
    worse = "worse"
    """The run's judge scored its image lower than the one before."""
    not_in_result = "not_in_result"
    """It was made after the image that became the result."""
    refers_back = "refers_back"
    """It can't be understood by itself."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image."""

    data: bytes
    digest: str
    """Of its pixels (`core.identity.frame_of`)."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A step as it was made: what was asked for, and the image it gave."""

    instruction: str
    before: str
    """Digest of the image it was applied to."""
    after: str
    """Digest of the image it gave."""
    picture: Picture | None
    """That image; None where nobody kept it."""
    thought: str = ""
    accepted: bool = True
    score: float | None = None
    """Of a judge that took part in the run, in [0, 1]."""
    refers_back: bool = False
    """It can't be understood by itself."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trajectory is from."""

    dataset: str
    licence: str | None
    record_id: str
    run: str | None = None
    work_id: str | None = None


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One trajectory: an instruction, an image, and what was done about it."""

    origin: Origin
    instruction: str
    original: Picture
    deeds: tuple[Deed, ...]
    stopped: bool
    """Whether somebody found the instruction carried out at its end."""
    final_thought: str = ""
    score: float | None = None
    """Of its result, in [0, 1]; None where nobody judged it."""
    has_judge: bool = False
    """A judge took part, so its result is the image that it liked best and not always the last."""

    @property
    def end(self) -> int:
        """How many of its steps lead to the result: of a judged one up to the best accepted, the latest of
        equals, as the loop takes it."""
        accepted = [index for index, deed in enumerate(self.deeds) if deed.accepted]
        if not self.has_judge or not accepted:
            return len(self.deeds)
        best = max(reversed(accepted), key=lambda index: self.deeds[index].score or 0.0)
        after = range(best + 1, len(self.deeds))
        # Rejected and fruitless steps behind it changed nothing: the policy stopped at the result all
        # the same.
        idle = all(not self.deeds[i].accepted or self.deeds[i].after == self.deeds[best].after for i in after)
        return len(self.deeds) if idle else best + 1


def find_faults(demonstration: Demonstration, worse: float) -> list[Fault | None]:
    """Of each step, why it is no answer to learn; None where it is one.

    A step counts as undone where a later one gives, pixel by pixel, an image that there was before it. The
    later one, which put things right, does not.

    Args:
        demonstration: the trajectory.
        worse: by how much more than this a judge's score must fall.
    """
    faults: list[Fault | None] = []
    end, score = demonstration.end, 0.0
    for index, deed in enumerate(demonstration.deeds):
        fault = None
        if index >= end:
            fault = Fault.not_in_result
        elif not deed.accepted:
            fault = Fault.rejected
        elif deed.before == deed.after:
            fault = Fault.unchanged
        elif deed.score is not None and deed.score < score - worse:
            fault = Fault.worse
        elif deed.refers_back:
            fault = Fault.refers_back
        if deed.accepted and deed.score is not None:
            score = deed.score
        faults.append(fault)
    _mark_undone(demonstration.deeds[:end], faults)
    return faults


def _mark_undone(deeds: Sequence[Deed], faults: list[Fault | None]) -> None:
    begun: dict[str, int] = {}  # digest of an image -> the first step that was applied to it
    for index, deed in enumerate(deeds):
        begun.setdefault(deed.before, index)
        if not deed.accepted or deed.before == deed.after:
            continue
        for wrong in range(begun.get(deed.after, index), index):
            faults[wrong] = faults[wrong] or Fault.undone
        begun[deed.after] = index + 1


def find_path(deeds: Sequence[Deed], last: int) -> list[int]:
    """The steps that lead to the image after a step, without detours: each was accepted and changed the
    image, and begins at the image that the one before it gave.

    Args:
        deeds: all steps of a trajectory.
        last: the step whose image is meant.
    """
    path: list[int] = []
    for index in range(last + 1):
        deed = deeds[index]
        if not deed.accepted or deed.before == deed.after:
            continue
        back = next((at for at, step in enumerate(path) if deeds[step].before == deed.after), None)
        path = [*path, index] if back is None else path[:back]
    return path


def relabel(demonstration: Demonstration, path: Sequence[int], instruction: str) -> Demonstration:
    """The same steps as the right answer to another instruction: nothing but these, then stop.

    What was thought was about the instruction as it was, so it is left out; so is the score.

    Args:
        demonstration: the trajectory.
        path: its steps, as `find_path` gives them.
        instruction: merged from theirs.
    """
    deeds = tuple(replace(demonstration.deeds[index], thought="", score=None) for index in path)
    return replace(
        demonstration,
        instruction=instruction,
        deeds=deeds,
        stopped=True,
        final_thought="",
        score=None,
        has_judge=False,
    )
