"""Columns of a manifest: their names, and what becomes of those that are not ours."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.storage.manifest.rows import Embedded, Record, Reject
from tests.unit.storage.manifest.manifests import (
    GOOD,
    IMAGE,
    WRITERS,
    config,
    one,
    read,
    records,
    refusal,
    write_jsonl,
)


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
        "nan": "NaN",
        "inf": "-Infinity",
        "truth": True,
        "nothing": None,
        "bytes": "AAEC",
        "list": [1, 2, None],
        "struct": {"a": [{"b": "eHk=", "c": "NaN"}]},
        "day": "2026-01-02",
        "map": [["k", 1]],
        "fixed": "YWJjZA==",
        "word": "blue",
    }


ROW = '{"record_id": "r", "image": "a", "instruction": "x", '


def test_json_numbers_without_a_json_form_are_kept_as_text(tmp_path: Path) -> None:
    [row] = one(tmp_path / "m.jsonl", ROW + '"n": NaN, "i": [Infinity, {"k": -Infinity}], "s": "NaN"}')
    assert isinstance(row, Record)
    assert json.loads(row.metadata) == {"n": "NaN", "i": ["Infinity", {"k": "-Infinity"}], "s": "NaN"}


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ('"s": "\\ud800"', "s", "is not valid Unicode (a lone surrogate"),
        ('"s": [{"k": "\\ud800"}]', "s", "is not valid Unicode"),
        ('"s": {"\\udfff": 1}', "s", "is not valid Unicode"),
        ('"\\udfff": 1', "\\udfff", "is not valid Unicode"),
        ('"n": 1e400', "row", "holds the number 1e400, which no 64-bit float can hold"),
        ('"n": [[-1e999]]', "row", "holds the number -1e999, which"),
    ],
)
def test_what_json_would_change_rejects_its_row(tmp_path: Path, more: str, field: str, reason: str) -> None:
    first, bad, last = one(tmp_path / "m.jsonl", f"{GOOD}\n{ROW}{more}}}\n{GOOD}\n")
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject) and (bad.where[-2:], bad.field) == (":2", field)
    assert bad.reason.startswith(reason)
    pa.array([bad.where, bad.record_id, bad.field, bad.reason], pa.string())


def test_many_bytes_are_no_metadata(tmp_path: Path) -> None:
    masks = pa.array([{"bytes": b"x" * 65_536, "path": None}, {"bytes": b"x" * 65_537, "path": None}], IMAGE)
    columns = {
        "record_id": ["a", "b"],
        "image": ["i"] * 2,
        "instruction": ["x"] * 2,
        "mask": masks,
        "n": [1, 2],
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    kept, refused = read(config(tmp_path / "m.parquet"))
    assert isinstance(kept, Record) and len(json.loads(kept.metadata)["mask"]["bytes"]) == 4 * 65_538 // 3
    assert isinstance(refused, Reject) and (refused.record_id, refused.field) == ("b", "mask")
    assert "holds 65,537 bytes, and metadata at most 65,536" in refused.reason
    names = {"metadata": ["n"]}
    assert [row.metadata for row in records(config(tmp_path / "m.parquet", columns=names))] == [
        '{"n": 1}',
        '{"n": 2}',
    ]


@pytest.mark.parametrize("name", ["m.parquet", "m.csv", "m.jsonl"])
def test_only_the_named_columns_are_carried_along(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    some, none = ({"metadata": names} for names in (["sku"], []))
    kept = [json.loads(row.metadata) for row in records(config(tmp_path / name, columns=some))]
    assert [list(row) for row in kept] == [["sku"]] * 3 and str(kept[2]["sku"]) == "3"
    assert [row.metadata for row in records(config(tmp_path / name, columns=none))] == ["{}"] * 3
    missing = config(tmp_path / name, columns={"metadata": ["sku", "price"]})
    if name == "m.jsonl":  # whose rows need not have all keys
        assert len(records(missing)) == 3
    else:
        assert "lacks the column 'price', which input.columns.metadata names; columns" in refusal(missing)


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
