"""Checkpoints in a store: found whole or not at all, the newest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.storage.stores import Store
from mira_batch.train import checkpoints
from mira_batch.train.checkpoints import drop_old, fetch, fetch_newest, list_whole, mark_whole, put_files

NAMES = ("adapter_model.safetensors", "optimizer.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def put(store: Store, step: int, folder: Path, whole: bool = True) -> None:
    for name in NAMES:
        (folder / name).write_bytes(f"{name} of {step}".encode() * 3)
    files = put_files(store, step, folder, NAMES)
    if whole:
        mark_whole(store, step, files)


def test_the_newest_whole_one_comes_back(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_PART", 20)
    put(store, 5, folder)
    put(store, 10, folder)
    put(store, 15, folder, whole=False)  # killed before the marker
    (there := tmp_path / "there").mkdir()
    found = fetch_newest(store, there, lambda text: pytest.fail(text))
    assert found is not None and found.step == 10
    assert len(found.files["optimizer.pt"]["parts"]) == 3  # 51 bytes in parts of 20
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {
        name: f"{name} of 10".encode() * 3 for name in NAMES
    }


def test_a_killed_try_is_no_obstacle_to_the_next(store: Store, folder: Path, tmp_path: Path) -> None:
    put(store, 5, folder, whole=False)
    put(store, 5, folder)
    put(store, 5, folder)  # and a second whole one of the same step leaves the first
    assert list_whole(store) == [5]
    assert fetch(store, 5, tmp_path) is not None


def test_a_damaged_one_is_passed_over_and_said(store: Store, folder: Path, tmp_path: Path) -> None:
    put(store, 5, folder)
    put(store, 10, folder)
    (part,) = [e.key for e in store.list("checkpoints/00000010") if "optimizer" in e.key]
    store.put(part, b"zeros")
    notes: list[str] = []
    found = fetch_newest(store, tmp_path, notes.append)
    assert found is not None and found.step == 5
    assert notes == ["checkpoint 10 is damaged; an older one is taken"]
    store.delete([part])
    assert fetch(store, 10, tmp_path) is None


def test_files_of_another_worker_stay_where_they_are(store: Store, folder: Path, tmp_path: Path) -> None:
    names = ("learned_0.safetensors", "learned_1.safetensors", "trainer_state.json")
    for name in names:
        (folder / name).write_bytes(name.encode())
    mark_whole(store, 5, put_files(store, 5, folder, names))
    (there := tmp_path / "there").mkdir()
    found = fetch(store, 5, there)
    assert found is not None and found.files.keys() == set(names)
    assert {path.name for path in there.iterdir()} == {"learned_0.safetensors", "trainer_state.json"}


def test_old_ones_go_with_what_killed_tries_left(store: Store, folder: Path) -> None:
    put(store, 3, folder, whole=False)
    for step in (5, 10, 15):
        put(store, step, folder)
    drop_old(store, keep=2)
    assert list_whole(store) == [15, 10]
    assert {entry.key.split("/")[1] for entry in store.list("checkpoints")} == {"00000010", "00000015"}


def test_none_is_none(store: Store, tmp_path: Path) -> None:
    assert fetch_newest(store, tmp_path, lambda text: pytest.fail(text)) is None


def test_a_marker_names_no_path(store: Store, tmp_path: Path) -> None:
    mark_whole(store, 5, {"../outside.json": {"parts": [], "digest": ""}})
    assert fetch(store, 5, tmp_path / "in") is None
    assert not (tmp_path / "outside.json").exists()
