"""Manifests of the same rows in every form, and what is read of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.rows import Record, Reject
from mira_batch.storage.manifest.splits import read_split

LOCAL = StorageConfig()
ROWS = [
    {"record_id": "r1", "image": "a.png", "instruction": "rotate it", "sku": 1},
    {"record_id": "r2", "image": "sub/b.png", "instruction": "drehe es schön 🌅", "sku": 2},
    {"record_id": "r3", "image": "/abs/c.png", "instruction": 'say "hi",\nthen stop', "sku": 3},
]


def write_jsonl(path: Path, rows: list[Any] = ROWS) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gzip_jsonl(path: Path) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


def csv_text() -> str:
    lines = ["record_id,image,instruction,sku"]
    for row in ROWS:
        instruction = row["instruction"].replace('"', '""')
        lines.append(f'{row["record_id"]},{row["image"]},"{instruction}",{row["sku"]}')
    return "\r\n".join(lines) + "\r\n"


def write_csv(path: Path) -> None:
    path.write_bytes(csv_text().encode())


def write_csv_with_bom(path: Path) -> None:
    path.write_bytes(csv_text().encode("utf-8-sig"))


def write_gzip_csv(path: Path) -> None:
    path.write_bytes(gzip.compress(csv_text().encode()))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)


WRITERS: dict[str, Callable[[Path], None]] = {
    "m.jsonl": write_jsonl,
    "m.ndjson": write_jsonl,
    "m.json": write_jsonl,
    "M.JSONL": write_jsonl,
    "m.jsonl.gz": write_gzip_jsonl,
    "m.csv": write_csv,
    "bom.csv": write_csv_with_bom,
    "m.csv.gz": write_gzip_csv,
    "m.parquet": write_parquet,
    "m.pq": write_parquet,
}


def config(location: object, **settings: object) -> InputConfig:
    return InputConfig.model_validate({"manifest": str(location)} | settings)


def read(source: InputConfig, storage: StorageConfig = LOCAL) -> list[Record | Reject]:
    pieces = split_manifest(list_files(source, storage), source, storage)
    return [row for piece in pieces for row in read_split(piece, source, storage)]


def records(source: InputConfig, storage: StorageConfig = LOCAL) -> list[Record]:
    rows = read(source, storage)
    assert [row for row in rows if isinstance(row, Reject)] == []
    return [row for row in rows if isinstance(row, Record)]


def one(path: Path, text: str | bytes, **settings: object) -> list[Record | Reject]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(config(path, **settings))


def refusal(source: InputConfig, storage: StorageConfig = LOCAL) -> str:
    with pytest.raises(ManifestError) as error:
        read(source, storage)
    text = str(error.value)
    assert "\n" not in text and text.startswith(source.manifest.split("*")[0].rstrip("/"))
    return text


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
GOOD = '{"record_id": "good", "image": "a.png", "instruction": "x"}'
HEAD = "record_id,image,instruction,n\n"
