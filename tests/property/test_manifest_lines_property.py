"""Whatever a manifest holds, its lines add up: each is in a row, is a reject, or is blank. A property of each
parser."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.metadata import is_encodable
from mira_batch.storage.manifest.rows import Record, Reject
from mira_batch.storage.manifest.splits import Split, read_raw_rows, read_split

LOCAL = StorageConfig()
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
pieces = st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", "a", "x y", ",b,c", "#", "\0", "ü", "\u2028", "\x0b"]
)
csv_texts = st.lists(pieces, max_size=40).map("".join)
HEAD = "one,two,three\r\n"


def raw_rows(path: Path, data: bytes, form: str) -> list[tuple[int, dict[str, Any] | str]]:
    path.write_bytes(data)
    source = InputConfig(manifest=str(path))
    found = read_raw_rows(Split(str(path), form, len(data)), source, LOCAL)
    return [(int(str(where).rpartition(":")[2]), row) for where, row in found]


def parse_alone(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@many
@given(csv_texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@example('a,"b\n\nc",d\n\n"e\r"f\rg\n', "utf-8")
@example('a\n"\n\n"x\n\n', "utf-8")
def test_every_line_of_a_csv_is_accounted_for(tmp_path: Path, text: str, encoding: str) -> None:
    found = raw_rows(tmp_path / "m.csv", (HEAD + text).encode(encoding), "csv")
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", HEAD + text)
    starts = [start for start, _ in found]
    assert starts == sorted(set(starts)) and all(1 < start <= len(lines) for start in starts)
    assert not "".join(lines[1 : (starts or [len(lines) + 1])[0] - 1]).strip("\r\n")
    for (start, row), end in zip(found, [*starts, len(lines) + 1][1:], strict=True):
        own = lines[start - 1 : end - 1]
        if isinstance(row, str) and not row.startswith("has more fields"):
            assert not "".join(own[1:]).strip("\r\n"), "each line that is not CSV is a reject of its own"
            continue
        fields, *blank = parse_alone("".join(own))
        assert not any(blank), "a row is one row"
        if isinstance(row, str):
            assert len(fields) > 3
        else:
            assert list(row.values()) == fields and list(row) == ["one", "two", "three"][: len(fields)]


@many
@given(csv_texts)
def test_what_is_valid_csv_has_no_rejects(tmp_path: Path, text: str) -> None:
    try:
        expected = [row for row in parse_alone(HEAD + text)[1:] if row]
    except csv.Error:
        assert any(
            isinstance(row, str) for _, row in raw_rows(tmp_path / "m.csv", (HEAD + text).encode(), "csv")
        )
        return
    found = [row for _, row in raw_rows(tmp_path / "m.csv", (HEAD + text).encode(), "csv")]
    assert [len(row) > 3 for row in expected] == [isinstance(row, str) for row in found]
    assert [row for row in expected if len(row) <= 3] == [
        list(row.values()) for row in found if isinstance(row, dict)
    ]


values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
nested = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
pairs = st.lists(
    st.tuples(st.sampled_from(["a", "b", 'c"', "\\", "ü"]) | st.text(max_size=2), nested), max_size=4
)


@many
@given(st.lists(pairs, max_size=5), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_every_line_of_json_is_a_row_or_names_its_key(
    tmp_path: Path, some: list[list[tuple[str, Any]]], is_ascii: bool, encoding: str
) -> None:
    def write(value: Any) -> str:
        return json.dumps(value, ensure_ascii=is_ascii)

    lines = ["{" + ", ".join(f"{write(key)}: {write(value)}" for key, value in row) + "}" for row in some]
    found = raw_rows(tmp_path / "m.jsonl", "\n\n".join(["{}", *lines]).encode(encoding), "jsonl")
    assert [start for start, _ in found] == [2 * index + 1 for index in range(len(some) + 1)]
    for row, (_, read) in zip(some, found[1:], strict=True):
        keys = [key for key, _ in row]
        if len(set(keys)) == len(keys):
            assert read == dict(row)
        else:
            assert (
                isinstance(read, str) and read.startswith("gives the key ") and " twice in one object" in read
            )


def strings_of(texts: list[bytes]) -> pa.Array:
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    )


int64 = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-(10**6), 10**6)
UNITS = ["s", "ms", "us", "ns"]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Mars/Base"])
@many
@given(st.data())
def test_every_row_of_a_parquet_file_is_kept_exactly_or_named(
    tmp_path: Path, zone: str | None, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 4))
    unit: Any = data.draw(st.sampled_from(UNITS))
    moments = data.draw(st.lists(int64, min_size=count, max_size=count))
    texts = data.draw(
        st.lists(st.binary(max_size=4) | st.text().map(str.encode), min_size=count, max_size=count)
    )
    days = data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=count, max_size=count))
    columns = {
        "record_id": [f"r{index}" for index in range(count)],
        "image": ["i.png"] * count,
        "instruction": ["x"] * count,
        "moment": pa.array(moments, pa.timestamp(unit, zone)),
        "text": strings_of(texts),
        "day": pa.array(days, pa.date32()),
    }
    # Parquet has no seconds, and Arrow refuses those beyond its milliseconds.
    if unit == "s" and any(abs(moment) > 2**52 for moment in moments):
        return
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    source = InputConfig(manifest=str(tmp_path / "m.parquet"))
    [piece] = split_manifest(list_files(source, LOCAL), source, LOCAL)
    found = list(read_split(piece, source, LOCAL))
    assert len(found) == count
    for index, row in enumerate(found):
        is_text = is_encodable(texts[index].decode("utf-8", "surrogateescape"))
        if isinstance(row, Reject):
            assert (row.record_id, row.field) == (f"r{index}", "text") and not is_text
            continue
        assert isinstance(row, Record) and is_text
        kept = json.loads(row.metadata)
        assert kept["text"].encode() == texts[index]
        assert np.datetime64(kept["day"], "D") == np.datetime64(days[index], "D")
        assert read_moment(kept["moment"], unit, zone) == np.datetime64(moments[index], unit)


def read_moment(text: str, unit: Any, zone: str | None) -> np.datetime64:
    """A moment in UTC that metadata names."""
    if zone is None:
        return np.datetime64(text, unit)
    main, sign, offset = re.fullmatch(r"(.*)([+-])(\d\d:\d\d(?::\d\d)?)", text).groups()  # type: ignore[union-attr]
    hours, minutes, *rest = map(int, offset.split(":"))
    seconds = (3600 * hours + 60 * minutes + sum(rest)) * (1 if sign == "+" else -1)
    return np.datetime64(main, unit) - np.timedelta64(seconds, "s").astype(f"timedelta64[{unit}]")


def test_the_reading_of_moments_above_is_right() -> None:
    assert read_moment("2026-01-02 03:04:05+01:00", "us", "x") == np.datetime64(
        datetime(2026, 1, 2, 2, 4, 5), "us"
    )
