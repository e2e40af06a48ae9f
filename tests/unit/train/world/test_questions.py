"""Questions about images: each answer is held against the images, read anew from its words."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mira_batch.train.world.edits import read_thing
from mira_batch.train.world.examples import ExampleBatches
from mira_batch.train.world.questions import ask_where, change_scene, tell_changes
from mira_batch.train.world.scenes import LARGE, SIDES, SMALL, Scene, Thing, World
from mira_batch.train.world.tasks import find_split, generate_tasks

RED, GREEN, BLUE = Thing("red", "circle"), Thing("green", "square"), Thing("blue", "circle")
FIRST = Scene(2, (RED, GREEN, None, None))
rngs = st.randoms(use_true_random=False)
worlds = st.sampled_from((SMALL, LARGE))


def test_changes_are_told_cell_by_cell_in_any_order() -> None:
    last = Scene(2, (BLUE, None, None, RED))
    told = {tell_changes(FIRST, last, random.Random(seed)) for seed in range(40)}
    parts = {"blue circle was red circle", "green square is gone", "red circle is new"}
    assert all({*each.split(", ")} == parts for each in told) and len(told) == 6
    assert tell_changes(FIRST, FIRST, random.Random(0)) == "nothing is new"


@given(worlds, rngs)
def test_a_changed_scene_is_one_of_the_world(world: World, rng: random.Random) -> None:
    (task,) = generate_tasks("train", 1, rng.randrange(50), world)
    changed = change_scene(task.scene, world, rng)
    standing = [thing for thing in changed.cells if thing]
    assert len({*standing}) == len(standing) and {*standing} <= {*world.things}
    differ = sum(a != b for a, b in zip(task.scene.cells, changed.cells, strict=True))
    assert differ <= 4


@given(worlds, rngs)
def test_answers_are_right(world: World, rng: random.Random) -> None:
    (task,) = generate_tasks("train", 1, rng.randrange(50), world)
    first, last = task.scene, change_scene(task.scene, world, rng)
    asked, answer = ask_where(first, last, world, rng)
    questions, answers = asked.removeprefix("look ").split(" and "), answer.split(", ")
    assert len(questions) == len(answers) and 2 <= len(answers) <= 4
    for question, said in zip(questions, answers, strict=True):
        place, _, name = question.rpartition("the ")
        thing = read_thing(name)
        if side := place.strip():
            cell = first.find_beside(first.cells.index(thing), side)
            beside = None if cell is None else first.cells[cell]
            assert side in SIDES and said == f"{question} is {beside or 'nothing'}"
        else:
            assert said == (f"{name} is {'there' if thing in last.cells else 'missing'}")


def test_pretraining_shows_no_held_out_scene_and_asks_all_kinds() -> None:
    batches = ExampleBatches(random.Random(3), SMALL, 10)
    drawn = [batches.draw(0.5) for _ in range(60)]
    assert {len(batch) for batch in drawn} == {10}
    examples = [one for batch in drawn for one in batch]
    assert all(find_split(*map(str, scene.cells)) == "train" for one in examples for scene in one.shown)
    kinds = {one.asked.split()[0] for one in examples}
    assert kinds == {"describe", "compare", "look"} and {len(one.shown) for one in examples} == {1, 2}
    assert all(len(one.shown) == 2 for one in examples if one.asked == "compare")
