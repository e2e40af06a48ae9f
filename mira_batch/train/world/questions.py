"""Questions about images that no edit is part of, with their answers: what is different in the second of two,
what stands beside an object, and whether one is there.

With captions they are what a real checkpoint can do before it is taught to edit: to compare images, and to
find the object that somebody means.
"""

from __future__ import annotations

import random

from mira_batch.train.world.captions import NOTHING
from mira_batch.train.world.scenes import SIDES, Scene, Thing, World

COMPARE = "compare"
"""What stands in the place of an instruction: what is different in the last image?"""
_LOOK = "look "
_SAME = "nothing is new"
_ITEMS = (2, 3, 4)
"""How many things are asked about at once."""
_MOST_CHANGES = 4


def change_scene(scene: Scene, world: World, rng: random.Random) -> Scene:
    """The scene with a few cells that hold something else, none of them an edit that somebody asked for.

    Args:
        scene: to begin with.
        world: whose objects come in.
        rng: draws cells and objects.
    """
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        cell = rng.randrange(len(scene.cells))
        was = scene.cells[cell]
        absent = [thing for thing in world.things if thing not in scene.cells]
        alike = [thing for thing in absent if was is not None and thing.shape == was.shape]
        gone = was is not None and rng.random() < 0.5
        if not gone and (choice := alike or ([] if was is not None else absent)):
            scene = scene.put(cell, rng.choice(choice))
        elif was is not None:
            scene = scene.put(cell, None)
    return scene


def tell_changes(first: Scene, last: Scene, rng: random.Random) -> str:
    """What is different in the last of two images, change by change, in an order that is drawn.

    Args:
        first, last: images of one size.
        rng: draws the order.
    """
    told = [_tell_change(was, now) for was, now in zip(first.cells, last.cells, strict=True) if was != now]
    rng.shuffle(told)
    return ", ".join(told) or _SAME


def ask_where(first: Scene, last: Scene, world: World, rng: random.Random) -> tuple[str, str]:
    """A question and its answer, of a few parts: what stood beside an object in the first image, and whether
    an object is in the last.

    Args:
        first, last: images of one size; or one image, twice.
        world: whose objects are asked about.
        rng: draws the question.
    """
    standing = [thing for thing in first.cells if thing is not None]
    asked, answers = [], []
    for _ in range(rng.choice(_ITEMS)):
        if standing and rng.random() < 0.6:
            side, anchor = _draw_place(first, standing, rng)
            cell = first.find_beside(first.cells.index(anchor), side)
            beside = None if cell is None else first.cells[cell]
            asked.append(f"{side} the {anchor}")
            answers.append(f"{side} the {anchor} is {beside or NOTHING}")
        else:
            near = [thing for thing in (*first.cells, *last.cells) if thing is not None]
            thing = rng.choice(near if near and rng.random() < 0.6 else world.things)
            asked.append(f"the {thing}")
            answers.append(f"{thing} is there" if thing in last.cells else f"{thing} is missing")
    return _LOOK + " and ".join(asked), ", ".join(answers)


def _draw_place(scene: Scene, standing: list[Thing], rng: random.Random) -> tuple[str, Thing]:
    """A side of an object; more often one on which something stands."""
    full = []
    for anchor in standing:
        for side in SIDES:
            cell = scene.find_beside(scene.cells.index(anchor), side)
            if cell is not None and scene.cells[cell] is not None:
                full.append((side, anchor))
    if full and rng.random() < 0.7:
        return rng.choice(full)
    return rng.choice([*SIDES]), rng.choice(standing)


def _tell_change(was: Thing | None, now: Thing | None) -> str:
    if was is None:
        return f"{now} is new"
    return f"{was} is gone" if now is None else f"{now} was {was}"
