"""How a run stands, told by a driver of something longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch import load_config, run
from mira_batch.runtime import standing
from mira_batch.runtime.standing import NotedProgress
from tests.support.runs.catalogue import make_catalogue, settings

SLOW = {
    "policy": {"type": "simulated"},
    "editor": {"type": "simulated", "service": {"seconds": 0.3}, "max_batch": 1},
}


def note_run(folder: Path) -> list[str]:
    manifest = make_catalogue(folder / "catalogue", 6)
    notes: list[str] = []
    run(load_config(settings(manifest, folder / "out", **SLOW)), NotedProgress(notes.append))
    return notes


def test_a_long_part_says_how_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_QUIET", 0.5)
    notes = note_run(tmp_path)
    assert notes and all(" of 6 records" in note for note in notes)
    assert any("in flight on 1 worker" in note for note in notes)


def test_a_short_part_says_nothing(tmp_path: Path) -> None:
    assert note_run(tmp_path) == []
