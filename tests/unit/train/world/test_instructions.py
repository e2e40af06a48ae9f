"""What instructions ask for in a scene, and which are refused."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given

from mira_batch.train.world.edits import Add, Recolour, Remove, apply_edit
from mira_batch.train.world.instructions import (
    AND,
    Beside,
    Unclear,
    list_clauses,
    parse_clause,
    read_goal,
    say_clause,
)
from mira_batch.train.world.scenes import LARGE, Scene, Thing
from mira_batch.train.world.tasks import Task
from tests.unit.train.world.strategies import tasks

RED, BLUE, GREEN = Thing("red", "circle"), Thing("blue", "circle"), Thing("green", "square")
STAR = Thing("yellow", "triangle")
SCENE = Scene(2, (RED, GREEN, None, STAR))


@pytest.mark.parametrize(
    ("instruction", "edits", "cells"),
    [
        ("remove the object right of the red circle", [Remove(GREEN)], (RED, None, None, STAR)),
        (
            "make the object above the yellow triangle blue",
            [Recolour(GREEN, "blue")],
            (RED, Thing("blue", "square"), None, STAR),
        ),
        (
            "add a blue circle below the red circle and remove the green square",
            [Add(BLUE, "below", RED), Remove(GREEN)],
            (RED, None, BLUE, STAR),
        ),
    ],
)
def test_what_an_instruction_comes_to(instruction: str, edits: list[object], cells: tuple[object]) -> None:
    goal = read_goal(instruction, SCENE)
    assert [clause.edit for clause in goal.clauses] == edits
    assert goal.target.cells == cells and goal.original == SCENE


@pytest.mark.parametrize(
    ("instruction", "says"),
    [
        ("", "no clause"),
        ("make it nicer", "'make it nicer' is no clause"),
        ("remove the red circle and", "no clause"),
        ("remove the blue circle", "can't be carried out"),
        ("remove the object above the red circle", "no object above the red circle"),
        ("remove the object right of the blue circle", "no object right of the blue circle"),
        ("make the red circle red", "can't be carried out"),
        ("remove the red circle and make the red circle blue", "the same place"),
        ("add a blue circle below the red circle and make the red circle blue", "the same object"),
        ("remove the red circle and remove the object right of the red circle", "landmark"),
        (AND.join(f"remove the {thing}" for thing in (RED, GREEN, STAR, BLUE)), "4 clauses"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(instruction: str, says: str) -> None:
    with pytest.raises(Unclear, match=says):
        read_goal(instruction, SCENE)


def test_every_possible_clause_has_words_that_are_read_back() -> None:
    kinds = list_clauses(SCENE, LARGE.things)
    assert [*kinds] == ["recolour", "remove", "add", "recolour beside", "remove beside"]
    for clauses in kinds.values():
        for clause in clauses:
            assert parse_clause(say_clause(clause)) == clause
            read_goal(say_clause(clause), SCENE)
    assert parse_clause(say_clause(Beside("above", RED, None))) == Beside("above", RED, None)


@given(tasks)
def test_the_order_of_clauses_makes_no_difference(task: Task) -> None:
    for clauses in permutations(task.goal.clauses):
        scene = task.scene
        for clause in clauses:
            scene = apply_edit(scene, clause.edit)
        assert scene == task.goal.target
