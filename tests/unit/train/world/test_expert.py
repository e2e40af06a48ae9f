"""The right next edit, whatever happened to the image."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.train.world.edits import Recolour, Remove, apply_edit, place_edit
from mira_batch.train.world.expert import find_next, make_mistake
from mira_batch.train.world.instructions import read_goal
from mira_batch.train.world.scenes import Scene, Thing
from mira_batch.train.world.tasks import Task
from tests.unit.train.world.strategies import tasks

RED, BLUE, GREEN = Thing("red", "circle"), Thing("blue", "circle"), Thing("green", "square")
SCENE = Scene(2, (RED, GREEN, None, None))
GOAL = read_goal(
    "remove the object right of the red circle and add a blue circle below the red circle", SCENE
)
MEANT = "first right of the red circle is green square, "


@given(tasks)
def test_without_failures_it_takes_an_edit_for_each_clause(task: Task) -> None:
    scene = task.scene
    for clause in task.goal.clauses:
        step = find_next(task.goal, scene)
        assert step.edit == clause.edit
        scene = apply_edit(scene, step.edit)
    last = find_next(task.goal, scene)
    assert last.edit is None and last.finished and scene == task.goal.target


@given(tasks, st.randoms(use_true_random=False))
def test_a_done_clause_is_never_repeated_and_mistakes_are_put_right(task: Task, rng: random.Random) -> None:
    scene, mistakes = task.scene, 0
    for _ in range(24):
        done = {each.cell for each in task.goal.clauses if scene.cells[each.cell] == each.value}
        wrong = make_mistake(task.goal, scene, rng) if mistakes < 3 and rng.random() < 0.3 else None
        if wrong is not None:
            mistakes += 1
            assert apply_edit(scene, wrong) != scene
            scene = apply_edit(scene, wrong)
            continue
        step = find_next(task.goal, scene)
        if step.edit is None:
            break
        placed = place_edit(scene, step.edit)
        assert placed is not None and placed[0] not in done
        scene = apply_edit(scene, step.edit)
    assert scene == task.goal.target


@pytest.mark.parametrize(
    ("cells", "edit", "thought"),
    [
        (
            SCENE.cells,
            Remove(GREEN),
            f"{MEANT}green square is there: open, second blue circle is missing: open",
        ),
        (
            (RED, None, BLUE, None),
            None,
            f"{MEANT}green square is missing: done, second blue circle is there: done",
        ),
        (
            (RED, GREEN, BLUE, None),
            Remove(GREEN),
            f"{MEANT}green square is there: open, second blue circle is there: done",
        ),
        (
            (RED, None, None, None),
            GOAL.clauses[1].edit,
            f"{MEANT}green square is missing: done, second blue circle is missing: open",
        ),
        (
            (Thing("yellow", "circle"), GREEN, None, None),
            Recolour(Thing("yellow", "circle"), "red"),
            f"{MEANT}green square is there: open, second blue circle is missing: open, "
            "yellow circle was red circle",
        ),
        (
            (RED, None, None, BLUE),
            Remove(BLUE),
            f"{MEANT}green square is missing: done, second blue circle is there: open, blue circle is wrong",
        ),
        (
            (None, None, None, None),
            None,
            f"{MEANT}green square is missing: done, second blue circle is missing: open, "
            "no edit brings what is missing",
        ),
    ],
)
def test_what_it_says(cells: tuple[Thing | None, ...], edit: object, thought: str) -> None:
    step = find_next(GOAL, Scene(2, cells))
    assert step.edit == edit
    assert step.thought == thought


def test_it_says_of_a_new_colour_whether_it_is_there() -> None:
    goal = read_goal("make the object right of the red circle blue", SCENE)
    meant, blue = "first right of the red circle is green square", Thing("blue", "square")
    assert find_next(goal, SCENE).thought == f"{meant}, blue square is missing: open"
    assert find_next(goal, SCENE.put(1, blue)).thought == f"{meant}, blue square is there: done"


def test_objects_whose_names_block_one_another_are_untangled() -> None:
    """Two squares that were given each other's colour."""
    red, blue = Thing("red", "square"), Thing("blue", "square")
    goal = read_goal("remove the green square", Scene(3, (red, GREEN, blue, RED, *[None] * 5)))
    scene = Scene(3, (blue, None, red, RED, *[None] * 5))
    for _ in range(8):
        step = find_next(goal, scene)
        if step.edit is None:
            break
        scene = apply_edit(scene, step.edit)
    assert scene == goal.target
