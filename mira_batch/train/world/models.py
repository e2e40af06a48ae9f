"""The synthetic world's policy, editor and judge, as `custom` models of an ordinary config.

All three read scenes from the pixels of what they are given, and hold nothing between two calls. An image
that is no scene of the world fails its record, as does an instruction that is none of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from mira_batch.core.actions import format_action
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.ports import Axis, EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, ErrorKind, Frame, StopAction
from mira_batch.train.world.edits import apply_edit, parse_edit, say_edit
from mira_batch.train.world.expert import find_next, make_mistake
from mira_batch.train.world.instructions import AND, Goal, Unclear, read_goal
from mira_batch.train.world.nearest import read_nearest
from mira_batch.train.world.scenes import WORLDS, NoScene, Scene, World, read_scene, render

PROTOCOL = "world-truth/1"
"""How the judge scores."""
_MAX_BATCH = 256
Request = TypeVar("Request")


class WorldExpert:
    """The right answer to each question; see `expert.py`. Implements `core.ports.Policy`."""

    max_batch = _MAX_BATCH

    def __init__(self, mistakes: float) -> None:
        self._mistakes = mistakes
        self.identity = f"world-expert/1 mistakes={mistakes:g}"

    def bucket(self, request: PolicyRequest) -> Hashable:
        """Any may share a batch."""
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The next edit or a stop for each; a `RecordError` where the image or the instruction is not of the
        world."""
        return [_try(self._answer, request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str:
        failed = ErrorKind.policy_failed
        goal = _read_goal(request.instruction, request.original, failed)
        current = _read(request.current, failed)
        step = find_next(goal, current)
        edit = step.edit
        if self._mistakes and (rng := random.Random(request.seed)).random() < self._mistakes:
            edit = make_mistake(goal, current, rng) or edit
        if edit is None:
            return format_action(StopAction("done" if step.finished else "no edit helps", step.thought))
        return format_action(Edit(say_edit(edit), step.thought))


class WorldEditor:
    """Carries out edits exactly, and now and then does nothing and doesn't say so. Implements
    `core.ports.Editor`.

    It understands atomic edits only. Of several in one sentence it often loses some, and it never finds out
    what stands beside what: a policy has to.
    """

    max_batch = _MAX_BATCH
    source_type = None  # nobody takes a grid of shapes for a photograph

    def __init__(self, failures: float, compound_failures: float) -> None:
        self._failures = failures
        self._compound_failures = compound_failures
        self.identity = f"world-editor/1 failures={failures:g} compound_failures={compound_failures:g}"

    def bucket(self, request: EditRequest) -> Hashable:
        """Any may share a batch."""
        return None

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[Any]:
        """An image for each, that of the request where nothing was done; a `RecordError` where it is no
        scene."""
        return [_try(self._edit, request) for request in requests]

    def _edit(self, request: EditRequest) -> Any:
        scene = before = _read(request.image, ErrorKind.editor_failed)
        sentences = request.instruction.split(AND)
        rate = self._failures if len(sentences) == 1 else self._compound_failures
        rng = random.Random(request.seed)
        for sentence in sentences:
            lost = rng.random() < rate
            edit = parse_edit(sentence)
            if edit is not None and not lost:
                scene = apply_edit(scene, edit)
        return request.image.pixels if scene == before else render(scene)


class WorldJudge:
    """The truth: how much of what was asked for the image shows, less what else changed. Implements
    `core.ports.Judge`; see `score_scene`."""

    max_batch = _MAX_BATCH

    def __init__(self, nearest: World | None) -> None:
        self._nearest = nearest
        self.identity = PROTOCOL if nearest is None else f"{PROTOCOL} nearest={nearest.size}"

    def bucket(self, request: JudgeRequest) -> Hashable:
        """Any may share a batch."""
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        """A judgement for each; a `RecordError` where the image or the instruction is not of the world."""
        return [_try(self._judge, request) for request in requests]

    def _judge(self, request: JudgeRequest) -> Judgement:
        failed = ErrorKind.judge_failed
        goal = _read_goal(request.instruction, request.original, failed)
        return score_scene(goal, _read(request.candidate, failed, self._nearest))


def make_expert(mistakes: float = 0.0) -> WorldExpert:
    """The expert as a policy.

    Args:
        mistakes: how often it names a wrong edit on purpose, which it puts right later.

    Raises:
        ConfigError: the rate is none.
    """
    return WorldExpert(_check_rate("mistakes", mistakes))


def make_editor(failures: float = 0.15, compound_failures: float = 0.4) -> WorldEditor:
    """The editor.

    Args:
        failures: how often an edit is lost without a word.
        compound_failures: how often each of several in one sentence is.

    Raises:
        ConfigError: a rate is none.
    """
    rates = {"failures": failures, "compound_failures": compound_failures}
    return WorldEditor(*(_check_rate(name, rate) for name, rate in rates.items()))


def make_judge(nearest: str | None = None) -> WorldJudge:
    """The truth as a judge.

    Args:
        nearest: small or large: read what an editor has drawn by the nearest object of that world
            (`nearest.py`), as an editor that learns to draw never gives the world's very pixels.

    Raises:
        ConfigError: there is no such world.
    """
    if nearest is not None and nearest not in WORLDS:
        raise ConfigError(f"options.nearest is {nearest!r}; a world is {' or '.join(WORLDS)}")
    return WorldJudge(None if nearest is None else WORLDS[nearest])


def score_scene(goal: Goal, scene: Scene) -> Judgement:
    """How near a scene is to what was asked for.

    Of the cells that have to change, those that are as they should be, less those that changed and should not
    have, over all that have to change; at least 0. It is 1 exactly where the scene is the target.

    Args:
        goal: what was asked for.
        scene: what came of it.
    """
    required = [cell for cell, wanted in enumerate(goal.target.cells) if wanted != goal.original.cells[cell]]
    others = len(goal.target.cells) - len(required)
    if scene.size != goal.original.size:
        made, collateral = 0, others
    else:
        made = sum(scene.cells[cell] == goal.target.cells[cell] for cell in required)
        wrong = sum(now != wanted for now, wanted in zip(scene.cells, goal.target.cells, strict=True))
        collateral = wrong - (len(required) - made)
    axes = {"made": Axis(made, 0, len(required)), "collateral": Axis(collateral, 0, max(others, 1))}
    reason = f"{made} of {len(required)} changes are made, and {collateral} others"
    return Judgement(max(0, made - collateral) / len(required), reason, axes, PROTOCOL)


def _read_goal(instruction: str, original: Frame, failed: ErrorKind) -> Goal:
    scene = _read(original, failed)
    try:
        return read_goal(instruction, scene)
    except Unclear as error:
        kind = ErrorKind.instruction_unclear if failed == ErrorKind.policy_failed else failed
        raise RecordError(kind, str(error)) from error


def _read(frame: Frame, failed: ErrorKind, nearest: World | None = None) -> Scene:
    try:
        return read_scene(frame.pixels) if nearest is None else read_nearest(frame.pixels, nearest)
    except NoScene as error:
        raise RecordError(failed, str(error)) from error


def _try(answer: Callable[[Request], Any], request: Request) -> Any:
    """The answer to one request, or why it alone has none."""
    try:
        return answer(request)
    except RecordError as error:
        return error


def _check_rate(name: str, rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ConfigError(f"options.{name} is {rate!r}; it is a rate, between 0 and 1")
    return float(rate)
