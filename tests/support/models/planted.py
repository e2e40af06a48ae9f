"""The synthetic world's expert, which in chosen records names one wrong edit, and gives up after it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from mira_batch.core.actions import format_action
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, StopAction
from mira_batch.train.world.edits import Remove, say_edit
from mira_batch.train.world.expert import find_next
from mira_batch.train.world.instructions import read_goal
from mira_batch.train.world.scenes import read_scene


class PlantedPolicy:
    """Implements `core.ports.Policy`."""

    max_batch = 64
    identity = "planted"

    def __init__(self, ruin: Mapping[str, int]) -> None:
        self._ruin = ruin

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str:
        goal = read_goal(request.instruction, read_scene(request.original.pixels))
        current = read_scene(request.current.pixels)
        cells = list(zip(current.cells, goal.original.cells, goal.target.cells, strict=True))
        if any(now not in (was, wanted) for now, was, wanted in cells):
            return format_action(StopAction("it is spoilt"))
        if self._ruin.get(request.record_id) == len(request.history):
            kept = next(now for now, was, wanted in cells if now is not None and was == wanted)
            return format_action(Edit(say_edit(Remove(kept)), "spoil it"))
        edit = find_next(goal, current).edit
        return format_action(StopAction("done") if edit is None else Edit(say_edit(edit), "go on"))


def make_planted(ruin: Mapping[str, int]) -> PlantedPolicy:
    """A policy that spoils these records at their step of this number, from 0."""
    return PlantedPolicy(ruin)
