"""The states that a manifest's column `branch` names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mira_batch.storage.manifest.planned import State, read_state

WORK = "0123456789abcdef" * 2


def read(**more: Any) -> State | None:
    return read_state(json.dumps({"branch": {"work_id": WORK, "steps": 2} | more}))


def test_a_state_with_and_without_edits() -> None:
    assert read() == State(WORK, 2)
    assert read(steps=0) == State(WORK, 0)
    assert read(edits=["crop it", "blur it"], stop=True) == State(WORK, 2, ("crop it", "blur it"), True)
    assert read(edits=None, stop=None) == State(WORK, 2), "as a column of structs in Parquet has it"
    said = json.dumps({"work_id": WORK, "steps": 2, "edits": ["crop it"]})
    assert read_state(json.dumps({"branch": said})) == State(WORK, 2, ("crop it",)), "as CSV has it"


def test_what_names_work_is_as_it_was_and_each_state_has_its_own() -> None:
    assert str(State(WORK, 2)) == f"{WORK}/2", "names of work of earlier releases rest on it"
    states = [
        State(WORK, 2),
        State(WORK, 2, ("a b",)),
        State(WORK, 2, ("a", "b")),
        State(WORK, 2, ("b", "a")),
    ]
    states += [State(WORK, each.steps, each.edits, True) for each in states]
    assert len({str(state) for state in states}) == len(states)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1}, {"steps": 1_000}, {"steps": True}, {"steps": "1"}, {"work_id": "x"}, {"work_id": None},
        {"edits": "crop it"}, {"edits": [""]}, {"edits": ["  "]}, {"edits": [1]}, {"edits": ["a" * 20_001]},
        {"edits": ["a"] * 999}, {"stop": "yes"}, {"stop": 1}, {"limit": 3},
    ],
)  # fmt: skip
def test_what_is_no_state(wrong: dict[str, Any]) -> None:
    assert read(**wrong) is None
