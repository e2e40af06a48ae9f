"""Tasks of the synthetic world: a scene and an instruction each, drawn from a seed, in three parts that share
nothing that could be learned by heart.

A scene belongs to one part by its own digest, whatever the seed, so no image of a held-out task is ever
trained on, with whatever instruction. The same holds for instructions of two or more clauses, in any order of
these. Single clauses are shared: there are some hundreds of them, and they are what the others are made of.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mira_batch.core.identity import content_hash
from mira_batch.train.world.instructions import (
    AND,
    MOST_CLAUSES,
    Clause,
    Goal,
    Unclear,
    ground,
    list_clauses,
    say_clause,
)
from mira_batch.train.world.scenes import SMALL, Scene, World

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_OF_TEN: tuple[Split, ...] = (*["train"] * 8, "val", "test")  # type: ignore[assignment]
_CLAUSE_COUNTS = (1, 2, 2, 3, 3)
"""Drawn from, so that two and three clauses are as frequent and one is half so."""


@dataclass(frozen=True, slots=True)
class Task:
    """A scene and what is to be done with it."""

    name: str
    scene: Scene
    instruction: str
    kinds: tuple[str, ...]
    """Of its clauses, in order."""
    goal: Goal


def generate_tasks(split: Split, count: int, seed: int = 0, world: World = SMALL) -> Iterator[Task]:
    """So many tasks of a part, no two alike. The first of them are the same whatever the count.

    Args:
        split: train (8 of 10 scenes), val or test (1 of 10 each).
        count: how many.
        seed: another one draws others of the same part.
        world: what scenes are made of.
    """
    rng = random.Random(content_hash("world-tasks/1", split, str(seed), repr(world)))
    seen: set[tuple[Scene, str]] = set()
    while len(seen) < count:
        scene = draw_scene(rng, split, world)
        kinds, clauses, goal = _draw_goal(rng, scene, world, split)
        instruction = AND.join(map(say_clause, clauses))
        if (scene, instruction) not in seen:
            yield Task(f"{split}-{seed}-{len(seen):06d}", scene, instruction, kinds, goal)
            seen.add((scene, instruction))


def draw_scene(rng: random.Random, split: Split, world: World = SMALL) -> Scene:
    """A scene of a part.

    Args:
        rng: draws it.
        split: which part.
        world: what it is made of.
    """
    while True:
        count = rng.randint(world.size, world.size + 2)
        things = rng.sample(world.things, count)
        cells = [None] * (world.size**2 - count) + things
        rng.shuffle(cells)
        scene = Scene(world.size, tuple(cells))
        if find_split(*(str(thing) for thing in cells)) == split:
            return scene


def find_split(*content: str) -> Split:
    """The part to which something belongs, by its content alone."""
    return _OF_TEN[int(content_hash("world-split/1", *content, size=4), 16) % 10]


def _draw_goal(
    rng: random.Random, scene: Scene, world: World, split: Split
) -> tuple[tuple[str, ...], tuple[Clause, ...], Goal]:
    """Clauses that go together in a scene, with their kinds and what they come to."""
    possible = list_clauses(scene, world.things)
    count = rng.choice(_CLAUSE_COUNTS)
    assert count <= MOST_CLAUSES
    while True:
        kinds = tuple(rng.choices([*possible], k=count))
        clauses = tuple(rng.choice(possible[kind]) for kind in kinds)
        if count > 1 and find_split(*sorted(map(say_clause, clauses))) != split:
            continue
        try:
            return kinds, clauses, ground(clauses, scene)
        except Unclear:
            continue
