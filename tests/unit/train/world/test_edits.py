"""Atomic edits as sentences and as changes of scenes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.train.world.edits import (
    Add,
    AtomicEdit,
    Recolour,
    Remove,
    apply_edit,
    parse_edit,
    place_edit,
    say_edit,
)
from mira_batch.train.world.scenes import Scene, Thing
from tests.unit.train.world.strategies import edits, scenes

RED, BLUE, GREEN = Thing("red", "circle"), Thing("blue", "circle"), Thing("green", "square")
SCENE = Scene(2, (RED, GREEN, None, None))


@given(edits)
def test_an_edit_is_read_back_from_its_sentence(edit: AtomicEdit) -> None:
    assert parse_edit(say_edit(edit)) == edit


@given(st.text() | st.text(st.sampled_from([*"make the red circle blue square above and "])))
def test_any_text_is_an_edit_or_none(text: str) -> None:
    edit = parse_edit(text)
    assert edit is None or say_edit(edit) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "remove the object left of the red circle",
        "remove the red circle and remove the green square",
        "Remove the red circle.",
        "add a red circle",
        "make the red circle pink",
    ],
)
def test_what_is_no_atomic_edit_is_none(text: str) -> None:
    assert parse_edit(text) is None


@given(scenes(), edits)
def test_an_edit_changes_one_cell_or_nothing_and_names_stay_unique(scene: Scene, edit: AtomicEdit) -> None:
    after = apply_edit(scene, edit)
    changed = [cell for cell in range(scene.size**2) if after.cells[cell] != scene.cells[cell]]
    placed = place_edit(scene, edit)
    assert changed == ([] if placed is None else [placed[0]])
    standing = [thing for thing in after.cells if thing]
    assert len({*standing}) == len(standing)


@pytest.mark.parametrize(
    ("edit", "cells"),
    [
        (Recolour(RED, "blue"), (BLUE, GREEN, None, None)),
        (Remove(GREEN), (RED, None, None, None)),
        (Add(BLUE, "below", GREEN), (RED, GREEN, None, BLUE)),
        (Add(BLUE, "right of", RED), SCENE.cells),  # something stands there
        (Add(BLUE, "above", RED), SCENE.cells),  # beyond the edge
        (Add(GREEN, "below", RED), SCENE.cells),  # there would be two
        (Remove(BLUE), SCENE.cells),  # isn't there
        (Recolour(RED, "red"), SCENE.cells),
    ],
)
def test_what_edits_do(edit: AtomicEdit, cells: tuple[Thing | None, ...]) -> None:
    assert apply_edit(SCENE, edit).cells == cells
