"""What the model of the world is asked before it learns to edit, in batches: captions, comparisons, places
and presence. No scene of a held-out part is shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from mira_batch.train.world.captions import ASK, write_caption
from mira_batch.train.world.questions import COMPARE, ask_where, change_scene, tell_changes
from mira_batch.train.world.scenes import Scene, Thing, World
from mira_batch.train.world.tasks import Split, find_split

AT_ONCE = 16
"""Batches that are drawn together, and sorted by length."""
_CAPTIONS = (0.6, 0.1)
"""Share of captions among the examples, at the beginning and at the end."""
_TWO = 0.7
"""Share of examples that show two images."""
_COMPARED = 0.5
"""Of those that are no captions, and show two, the share that is asked to compare them."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question about images, and its answer."""

    shown: tuple[Scene, ...]
    """One image, or two of one size."""
    asked: str
    """What stands in the place of an instruction."""
    answer: str


class ExampleBatches:
    """Draws batches of examples about as long, so that little is padding."""

    def __init__(self, rng: random.Random, world: World, size: int) -> None:
        """
        Args:
            rng: draws them.
            world: what scenes are made of.
            size: examples of a batch.
        """
        self._rng, self._world, self._size = rng, world, size
        self._left: list[list[Example]] = []

    def draw(self, gone: float) -> list[Example]:
        """The next batch.

        Args:
            gone: share of the training that is over; captions become fewer.
        """
        if not self._left:
            first, last = _CAPTIONS
            captions = first + (last - first) * gone
            drawn = [draw_example(self._rng, self._world, captions) for _ in range(AT_ONCE * self._size)]
            drawn.sort(key=_measure)
            self._left = [drawn[at : at + self._size] for at in range(0, len(drawn), self._size)]
            self._rng.shuffle(self._left)
        return self._left.pop()


def draw_example(rng: random.Random, world: World, captions: float) -> Example:
    """An example of scenes of the part train.

    Args:
        rng: draws it.
        world: what scenes are made of.
        captions: how often it is a caption, of the last image.
    """
    first = last = draw_varied(rng, world, "train")
    if rng.random() < _TWO:
        while last == first or find_split(*map(str, last.cells)) != "train":
            last = change_scene(first, world, rng)
    shown = (first,) if first == last else (first, last)
    if rng.random() < captions:
        return Example(shown, ASK, write_caption(last, rng))
    if len(shown) == 2 and rng.random() < _COMPARED:
        return Example(shown, COMPARE, tell_changes(first, last, rng))
    return Example(shown, *ask_where(first, last, world, rng))


def draw_varied(rng: random.Random, world: World, split: Split) -> Scene:
    """A scene with one object or many, as edits leave them.

    Args:
        rng: draws it.
        world: what it is made of.
        split: of which part it is.
    """
    while True:
        count = rng.randint(1, count_most(world))
        things = rng.sample(world.things, count)
        cells: list[Thing | None] = [*things, *[None] * (world.size**2 - count)]
        rng.shuffle(cells)
        if find_split(*map(str, cells)) == split:
            return Scene(world.size, tuple(cells))


def count_most(world: World) -> int:
    """Objects of a scene that is drawn here at most: one more than tasks begin with.

    Args:
        world: what it is made of.
    """
    return world.size + 3


def _measure(one: Example) -> int:
    """About how many tokens an example has, but for those that all have."""
    return len(one.asked.split()) + len(one.answer.split()) + 10 * len(one.shown)
