"""Pairs of scenes with the atomic edit between them: to learn to edit from, and to measure it by."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mira_batch.train.world.edits import Add, AtomicEdit, Recolour, Remove, place_edit
from mira_batch.train.world.examples import draw_varied
from mira_batch.train.world.scenes import COLOURS, SIDES, Scene, World
from mira_batch.train.world.tasks import Split


@dataclass(frozen=True, slots=True)
class Pair:
    """A scene, an edit that can be carried out in it, and what comes of that."""

    source: Scene
    edit: AtomicEdit
    target: Scene
    cell: int
    """The one cell that changes."""


def draw_pair(rng: random.Random, world: World, split: Split) -> Pair:
    """A pair whose source is of a part.

    Args:
        rng: draws it.
        world: what scenes are made of.
        split: of which part the source is. The target may be of any.
    """
    return draw_edit(rng, draw_varied(rng, world, split), world)


def draw_edit(rng: random.Random, source: Scene, world: World) -> Pair:
    """A pair of a scene that has an object; adding, recolouring and removing are as frequent,
    where each can be done.

    Args:
        rng: draws the edit.
        source: the scene.
        world: what it is made of.
    """
    edits = _list_edits(rng, source, world)
    edit = rng.choice(edits[rng.choice([*edits])])
    placed = place_edit(source, edit)
    assert placed is not None
    return Pair(source, edit, source.put(*placed), placed[0])


def _list_edits(rng: random.Random, source: Scene, world: World) -> dict[type[AtomicEdit], list[AtomicEdit]]:
    """What can be done, by kind; of what can be added one for each place."""
    standing = [thing for thing in source.cells if thing is not None]
    absent = [thing for thing in world.things if thing not in source.cells]
    edits: dict[type[AtomicEdit], list[AtomicEdit]] = {
        Add: [Add(rng.choice(absent), side, anchor) for anchor in standing for side in SIDES if absent],
        Recolour: [Recolour(thing, colour) for thing in standing for colour in COLOURS[: world.colours]],
        Remove: [Remove(thing) for thing in standing],
    }
    able = {kind: [edit for edit in some if place_edit(source, edit)] for kind, some in edits.items()}
    return {kind: some for kind, some in able.items() if some}
