"""Columns of a manifest: their names, and what becomes of those that are not ours."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.storage.manifest.rows import Embedded, Record, Reject
from tests.unit.storage.manifest.manifests import IMAGE, config, one, read, records, write_jsonl


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [{"id": 7, "pic": "a.png", "what": "x", "image": "kept", "record_id": "kept too"}]
    write_jsonl(tmp_path / "m.jsonl", rows)
    names = {"record_id": "id", "image": "pic", "instruction": "what"}
    [row] = records(config(tmp_path / "m.jsonl", columns=names))
    assert (row.record_id, row.image, row.instruction) == ("7", f"{tmp_path}/a.png", "x")
    assert json.loads(row.metadata) == {"image": "kept", "record_id": "kept too"}


def test_metadata_is_carried_as_json(tmp_path: Path) -> None:
    extra: dict[str, list[Any]] = {
        "text": ["ü\u2028"],
        "whole": [2**60],
        "real": [0.1],
        "nan": [math.nan],
        "inf": [-math.inf],
        "truth": [True],
        "nothing": pa.array([None], pa.string()),
        "bytes": [b"\0\1\2"],
        "list": [[1, 2, None]],
        "struct": [{"a": [{"b": b"xy", "c": math.nan}]}],
        "day": [date(2026, 1, 2)],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "fixed": pa.array([b"abcd"], pa.binary(4)),
        "word": pa.array(["blue"]).dictionary_encode(),
    }
    table = pa.table({"record_id": ["r"], "image": ["a.png"], "instruction": ["x"]} | extra)
    pq.write_table(table, tmp_path / "m.parquet")
    [row] = records(config(tmp_path / "m.parquet"))
    assert json.loads(row.metadata) == {
        "text": "ü\u2028",
        "whole": 2**60,
        "real": 0.1,
        "nan": None,
        "inf": None,
        "truth": True,
        "nothing": None,
        "bytes": "<3 bytes>",
        "list": [1, 2, None],
        "struct": {"a": [{"b": "<2 bytes>", "c": None}]},
        "day": "2026-01-02",
        "map": [["k", 1]],
        "fixed": "<4 bytes>",
        "word": "blue",
    }


def test_json_numbers_without_a_json_form_become_null(tmp_path: Path) -> None:
    line = '{"record_id": "r", "image": "a", "instruction": "x", "n": NaN, "i": [Infinity], "s": "\\ud800", '
    [row] = one(tmp_path / "m.jsonl", line + '"\\udfff": {"\\udfff": 1}}')
    assert isinstance(row, Record)
    assert json.loads(row.metadata) == {"n": None, "i": [None], "s": "?", "?": {"?": 1}}


def test_a_hugging_face_image_may_be_a_path_or_nothing(tmp_path: Path) -> None:
    values = [
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": "b"},
    ]
    columns = {"record_id": list("abcd"), "image": pa.array(values, IMAGE), "instruction": ["x"] * 4}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    first, second, third, fourth = read(config(tmp_path / "m.parquet"))
    assert isinstance(first, Record) and first.image == f"{tmp_path}/a.png"
    for row in (second, third):
        assert isinstance(row, Reject) and (row.field, row.reason) == ("image", "is missing or null")
    assert isinstance(fourth, Record) and isinstance(fourth.image, Embedded)
