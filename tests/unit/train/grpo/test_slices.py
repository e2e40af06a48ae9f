"""The records of an iteration as a manifest of their own, from real manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError, RunConflict
from mira_batch.storage.manifest import Embedded, find_manifest, read_split
from mira_batch.storage.stores import open_store
from mira_batch.train.grpo.slices import RecordList
from mira_batch.train.grpo.states import AskedState
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks

STORAGE = StorageConfig()


def read(source: InputConfig) -> list:
    splits = find_manifest(source, STORAGE).split()
    return [row for split in splits for row in read_split(split, source, STORAGE)]


def test_embedded_images(tmp_path: Path) -> None:
    write_manifest(tmp_path / "all.parquet", generate_tasks("train", 6))
    source = InputConfig(manifest=str(tmp_path / "all.parquet"))
    records = RecordList(source, STORAGE, str(tmp_path / "out"))
    assert records.count == 6
    store = open_store(str(tmp_path / "out"), STORAGE)
    whole, part = read(source), read(records.write((4, 1), store, "iterations/0"))
    assert [row.record_id for row in part] == [whole[4].record_id, whole[1].record_id]
    for row, old in zip(part, (whole[4], whole[1]), strict=True):
        assert isinstance(row.image, Embedded) and row.image.digest == old.image.digest
        assert (row.instruction, json.loads(row.metadata)) == (old.instruction, json.loads(old.metadata))
    # A second call takes the manifest that is there, whatever has become of the first.
    (tmp_path / "all.parquet").unlink()
    assert [row.record_id for row in read(records.write((4, 1), store, "iterations/0"))] == [
        row.record_id for row in part
    ]


def test_places_bad_rows_and_odd_columns(tmp_path: Path) -> None:
    lines = [
        {"record_id": "a", "photo": "pictures/a.png", "instruction": "x", "image": {"deep": [1]}},
        {"record_id": "bad", "photo": "pictures/b.png", "instruction": ""},
        {"record_id": "a", "photo": "pictures/again.png", "instruction": "x"},
        {"record_id": "c", "photo": "pictures/c.png", "instruction": "y", "image": "front"},
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = InputConfig.model_validate(
        {"manifest": str(tmp_path / "all.jsonl"), "columns": {"image": "photo"}, "max_pixels": 1000}
    )
    records = RecordList(source, STORAGE, str(tmp_path / "out"))
    assert records.count == 2
    made = records.write((1, 0), open_store(str(tmp_path / "out"), STORAGE), "iterations/0")
    assert (made.allowed, made.max_pixels) == (source.allowed, 1000)
    rows = read(made)
    assert [(row.record_id, row.image) for row in rows] == [
        ("c", f"{tmp_path}/pictures/c.png"),
        ("a", f"{tmp_path}/pictures/a.png"),
    ]
    assert [json.loads(row.metadata)["image"] for row in rows] == ["front", {"deep": [1]}]


def test_states_keep_what_their_records_have_and_a_column_of_that_name_is_refused(tmp_path: Path) -> None:
    lines = [
        {"record_id": "a", "image": "a.png", "instruction": "x", "sku": 7},
        {"record_id": "c", "image": "c.png", "instruction": "y", "branch": "north"},
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = RecordList(InputConfig(manifest=str(tmp_path / "all.jsonl")), STORAGE, str(tmp_path / "out"))
    store = open_store(str(tmp_path / "out"), STORAGE)
    states = [AskedState("a", "f" * 32, steps, f"q{steps}") for steps in (0, 2)]
    rows = read(records.write_states((1, 0), states, store, "iterations/0"))
    assert [(row.record_id, row.image, row.instruction) for row in rows] == [
        ("a#state-0", f"{tmp_path}/a.png", "x"),
        ("a#state-2", f"{tmp_path}/a.png", "x"),
    ]
    assert [json.loads(row.metadata) for row in rows] == [
        {"sku": 7, "branch": {"work_id": "f" * 32, "steps": steps}} for steps in (0, 2)
    ]
    with pytest.raises(ManifestError, match="has a column `branch`, by which `credit: step` names states"):
        records.write_states((1, 0), [AskedState("c", "f" * 32, 0, "q")], store, "iterations/1")


def test_nothing_valid(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text('{"record_id": "a", "image": "a.png", "instruction": ""}\n')
    with pytest.raises(ManifestError, match="no valid record"):
        RecordList(InputConfig(manifest=str(tmp_path / "all.jsonl")), STORAGE, str(tmp_path / "out"))


def test_a_manifest_that_was_replaced_is_not_read_by_the_places_of_the_old_one(tmp_path: Path) -> None:
    write_manifest(tmp_path / "all.parquet", generate_tasks("train", 6))
    records = RecordList(InputConfig(manifest=str(tmp_path / "all.parquet")), STORAGE, str(tmp_path / "out"))
    store = open_store(str(tmp_path / "out"), STORAGE)
    records.write((4, 1), store, "iterations/0")
    (tmp_path / "all.parquet").unlink()
    write_manifest(tmp_path / "all.parquet", generate_tasks("train", 5, 1))
    with pytest.raises(RunConflict, match=r"all.parquet: is another than the training began with"):
        records.write((0, 3), store, "iterations/1")
    states = [AskedState("a", "f" * 32, 0, "q")]
    with pytest.raises(RunConflict, match="is another than the training began with"):
        records.write_states((4, 1), states, store, "iterations/0")
