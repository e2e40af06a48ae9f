"""The pieces that a manifest is read in."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.rows import Record
from mira_batch.storage.manifest.splits import read_split
from tests.support.servers.s3 import S3Server
from tests.unit.storage.manifest.manifests import (
    GOOD,
    IMAGE,
    LOCAL,
    ROWS,
    config,
    csv_text,
    one,
    read,
    write_jsonl,
)


def test_the_pieces_of_a_parquet_file_cover_it_once(tmp_path: Path) -> None:
    rows = 120_000
    columns = {name: [f"{name}{i}" for i in range(rows)] for name in ("record_id", "image", "instruction")}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet", row_group_size=20_000)
    source = config(tmp_path / "m.parquet")
    pieces = split_manifest(list_files(source, LOCAL), source, LOCAL)
    assert [piece.row_groups for piece in pieces] == [(0, 1, 2), (3, 4, 5)]
    last = list(read_split(pieces[1], source, LOCAL))
    assert isinstance(last[0], Record) and isinstance(last[-1], Record)
    assert (last[0].record_id, last[-1].record_id, len(last)) == ("record_id60000", "record_id119999", 60_000)


def test_a_piece_knows_its_largest_row_group_of_images(tmp_path: Path) -> None:
    images = [os.urandom(size) for size in (10_000, 10_000, 30_000, 30_000, 10_000)]
    columns = {"record_id": list("abcde"), "instruction": ["x"] * 5, "images": [os.urandom(50_000)] * 5}
    for values in (images, pa.array([{"bytes": data, "path": None} for data in images], IMAGE)):
        pq.write_table(pa.table(columns | {"image": values}), tmp_path / "m.parquet", row_group_size=2)
        source = config(tmp_path / "m.parquet")
        [piece] = split_manifest(list_files(source, LOCAL), source, LOCAL)
        assert 60_000 < piece.image_bytes < 61_000
    pq.write_table(pa.table(columns | {"image": ["a.png"] * 5}), tmp_path / "m.parquet")
    [piece] = split_manifest(list_files(source, LOCAL), source, LOCAL)
    assert piece.image_bytes == 0


def test_a_large_file_of_lines_is_cut_into_even_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 1_000)
    rows = [
        f'{{"record_id": "r{i}", "image": "a.png", "instruction": "{"x" * (i % 90)}"}}' for i in range(99)
    ]
    text = "\n".join([*rows, "nonsense"])
    found = one(tmp_path / "m.jsonl", text)
    assert [row.record_id for row in found] == [f"r{i}" for i in range(99)] + [None]
    assert [row.where for row in found] == [f"{tmp_path}/m.jsonl:{line}" for line in range(1, 101)]
    source = config(tmp_path / "m.jsonl")
    pieces = split_manifest(list_files(source, LOCAL), source, LOCAL)
    assert len(pieces) == len(text) // 1_000 and all(1_000 <= piece.size < 1_200 for piece in pieces)
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(os.urandom(9_000).hex().encode()))
    for name, data in {"m.csv": csv_text() * 50, "m.jsonl": GOOD}.items():
        (tmp_path / name).write_text(data)
    source = config(tmp_path)
    assert [piece.start for piece in split_manifest(list_files(source, LOCAL), source, LOCAL)] == [
        None,
        0,
        None,
    ]


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "m.jsonl")
    source = config(tmp_path / "m.jsonl")
    pieces = split_manifest(list_files(source, LOCAL), source, LOCAL)
    write_jsonl(tmp_path / "m.jsonl", ROWS[:2])
    with pytest.raises(ManifestError, match="m.jsonl: was changed while it was read; run the same command"):
        list(read_split(pieces[0], source, LOCAL))


@pytest.mark.s3
def test_a_large_file_on_s3_is_read_in_ranges(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(listing, "SPLIT_BYTES", 1_000)
    body = b"".join(json.dumps(ROWS[0] | {"record_id": f"r{i}"}).encode() + b"\n" for i in range(100))
    s3.client().put_object(Bucket=s3.bucket, Key="ranges/m.jsonl", Body=body + b"nonsense")
    storage = StorageConfig(endpoint_url=s3.endpoint)
    location = f"s3://{s3.bucket}/ranges/m.jsonl"
    found = read(config(location), storage)
    assert [row.record_id for row in found] == [f"r{i}" for i in range(100)] + [None]
    assert [row.where for row in found] == [f"{location}:{line}" for line in range(1, 102)]
