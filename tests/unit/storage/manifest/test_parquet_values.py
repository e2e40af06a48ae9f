"""Columns of a Parquet manifest that Python has no value for: each is kept exactly, or rejects its row."""

from __future__ import annotations

import json
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.embedded import read_embedded
from mira_batch.storage.manifest.metadata import dump_metadata
from mira_batch.storage.manifest.rows import Record, Reject
from mira_batch.storage.manifest.values import Unkept, read_values
from tests.unit.storage.manifest.manifests import config, read, refusal


def bad_strings(*values: bytes, large: bool = False) -> pa.Array:
    """A string column of these bytes, valid UTF-8 or not: as readers of other languages write it."""
    ends = np.cumsum([0, *map(len, values)]).astype(np.int64 if large else np.int32)
    kind = pa.large_string() if large else pa.string()
    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    )


def kept(array: pa.Array) -> list[Any]:
    """What metadata says of each value."""
    return [json.loads(dump_metadata({"v": value}))["v"] for value in read_values(array)]


def manifest(path: Path, **columns: Any) -> list[Record | Reject]:
    """A manifest of three rows, some of whose columns are these."""
    given = {"record_id": ["a", "b", "c"], "image": ["i.png"] * 3, "instruction": ["x"] * 3} | columns
    pq.write_table(pa.table(given), path)
    return read(config(path))


FAR = [
    (
        pa.array([0, 5_000_000, -800_000, None], pa.date32()),
        ["1970-01-01", "15659-07-15", "-221-09-04", None],
    ),
    (pa.array([86_400_000, 86_400_005, 2**52], pa.date64()), ["1970-01-02", "1970-01-02 00:00:00.005"]),
    (pa.array([0, 2**60], pa.timestamp("us")), ["1970-01-01 00:00:00", "38504-08-17 21:30:06.846976"]),
    (pa.array([-1, 253_402_300_800], pa.timestamp("s")), ["1969-12-31 23:59:59", "10000-01-01 00:00:00"]),
    (pa.array([1, 10**18], pa.timestamp("ms")), ["1970-01-01 00:00:00.001000", "31690708-07-05 01:46:40"]),
    (
        pa.array([0, 2**60], pa.timestamp("us", "Europe/Berlin")),
        ["1970-01-01 01:00:00+01:00", "38504-08-17 21:30:06.846976+00:00"],
    ),
    (pa.array([5], pa.timestamp("us", "Mars/Base")), ["1970-01-01 00:00:00.000005+00:00"]),
    (
        pa.array([1_001, 1_000], pa.timestamp("ns")),
        ["1970-01-01 00:00:00.000001001", "1970-01-01 00:00:00.000001"],
    ),
    (pa.array([-1], pa.timestamp("ns", "+05:30")), ["1970-01-01 05:29:59.999999999+05:30"]),
    (pa.array([1_500, 3_661 * 10**9 + 7], pa.time64("ns")), ["00:00:00.000001500", "01:01:01.000000007"]),
    (pa.array([61], pa.time32("s")), ["00:01:01"]),
    (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
    (pa.array([0.5, np.inf, np.nan], pa.float16()), [0.5, "Infinity", "NaN"]),
    (pa.array([Decimal("1.500")], pa.decimal128(30, 3)), ["1.500"]),
    (pa.array([timedelta(days=3, microseconds=5)], pa.duration("us")), ["3 days, 0:00:00.000005"]),
    (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), [[1, 2, 3]]),
    (pa.array([b"ab", None], pa.large_binary()), ["YWI=", None]),
    (pa.array([b"a" * 16], pa.uuid()), ["61616161-6161-6161-6161-616161616161"]),
]


@pytest.mark.parametrize(("array", "expected"), FAR, ids=[str(array.type) for array, _ in FAR])
def test_values_beyond_python_are_kept_as_text(array: pa.Array, expected: list[Any]) -> None:
    assert kept(array)[: len(expected)] == expected
    assert kept(array.slice(1))[: len(expected) - 1] == expected[1:], "each by itself"
    offsets = pa.array([0, len(array)], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, array)
    assert kept(lists)[0][: len(expected)] == expected
    structs = pa.StructArray.from_arrays([array, array], ["a", "b"])
    assert [row["b"] for row in kept(structs)][: len(expected)] == expected
    maps = pa.MapArray.from_arrays(offsets, pa.array([f"k{i}" for i in range(len(array))]), array)
    assert [pair[1] for pair in kept(maps)[0]][: len(expected)] == expected
    if not isinstance(array.type, pa.BaseExtensionType) and not pa.types.is_interval(array.type):
        assert kept(array.dictionary_encode())[: len(expected)] == expected


def test_times_are_written_as_python_writes_them() -> None:
    """Also in nanoseconds, where pandas used to do it."""
    draw = random.Random(5)
    moments = [draw.randrange(-(2**62), 2**62) for _ in range(300)] + [0, 1, -1, 999, 1_000, -1_500, 10**9]
    for zone in (None, "UTC", "Europe/Berlin", "America/New_York", "+05:30"):
        for unit in ("ns", "us"):
            array = pa.array(moments, pa.timestamp(unit, zone))
            if unit == "us":
                array = array.filter(pa.array([abs(moment) < 2**55 for moment in moments]))
            assert kept(array) == [str(value) for value in array.to_pylist()]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (bad_strings(b"ok", b"caf\xe9", b"ok"), "is not valid UTF-8"),
        (bad_strings(b"ok", b"\xed\xa0\x80", b"ok", large=True), "is not valid UTF-8"),
        (pa.array([1, 2**62, 3], pa.duration("s")), "holds a duration[s] that Python has no value for"),
        (pa.array([1, 86_400_000_000, 3], pa.time64("us")), "holds a time of day beyond 24 hours"),
        (pa.array([1, -1, 3], pa.time32("ms")), "holds a time of day beyond 24 hours"),
        (pa.array([1, -(2**63), 3], pa.timestamp("us")), "holds a time that stands for none"),
    ],
)
@pytest.mark.parametrize("shape", ["plain", "list", "struct", "map"])
def test_a_value_that_cannot_be_kept_rejects_its_row_alone(
    tmp_path: Path, array: pa.Array, reason: str, shape: str
) -> None:
    if shape == "list":
        array = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), array)
    elif shape == "struct":
        array = pa.StructArray.from_arrays([array], ["inner"])
    elif shape == "map":
        array = pa.MapArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), pa.array(["k"] * 3), array)
    first, bad, last = manifest(tmp_path / "m.parquet", extra=array)
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject) and (bad.record_id, bad.field, bad.reason) == ("b", "extra", reason)
    assert bad.where == f"{tmp_path}/m.parquet#row_group=0&row=1"


def test_times_as_spark_writes_them_are_read_whole(tmp_path: Path) -> None:
    """INT96: Arrow makes nanoseconds of them, in which the year 9999 becomes 1816 without an error."""
    path = tmp_path / "m.parquet"
    micros = [253_402_214_400_000_000, 1_000_001, None, -(2**55), -1]
    nanos = [5, 1_000_000_001, None, -(2**61) - 1, -1]
    count = 6_000
    columns = {
        "record_id": [f"r{index}" for index in range(5 * count)],
        "image": ["i.png"] * 5 * count,
        "instruction": ["x"] * 5 * count,
        "a": pa.array(micros * count, pa.timestamp("us")),
        "b": pa.array(nanos * count, pa.timestamp("ns")),
        "n": [7] * 5 * count,
    }
    table = pa.table(columns)
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, row_group_size=7_001)
    assert str(pq.ParquetFile(path).schema.column(4).physical_type) == "INT96"
    expected = [
        {"a": "9999-12-31 00:00:00", "b": "1970-01-01 00:00:00.000000005", "n": 7},
        {"a": "1970-01-01 00:00:01.000001", "b": "1970-01-01 00:00:01.000000001", "n": 7},
        {"a": None, "b": None, "n": 7},
        {"a": "0828-04-17 00:49:41.036032", "b": "1896-12-06 00:03:10.786306047", "n": 7},
        {"a": "1969-12-31 23:59:59.999999", "b": "1969-12-31 23:59:59.999999999", "n": 7},
    ]
    found = [json.loads(row.metadata) for row in read(config(path)) if isinstance(row, Record)]
    assert found[:5] == expected
    assert found == expected * count
    only = read(config(path, columns={"metadata": ["b"]}))
    assert [json.loads(row.metadata) for row in only[:2] if isinstance(row, Record)] == [
        {"b": row["b"]} for row in expected[:2]
    ]


def test_a_column_that_arrow_refuses_as_a_whole_is_named(tmp_path: Path) -> None:
    """Bad text where the column is a dictionary (pandas: categorical) can't be told row by row."""
    path = tmp_path / "m.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), bad_strings(b"ok", b"caf\xe9"))
    with pytest.raises(
        ManifestError, match=r"m.parquet: row group 0: the column 'colour' can't be read \(Arrow"
    ):
        manifest(path, n=[1, 2, 3], colour=words)
    found = read(config(path, columns={"metadata": ["n"]}))
    assert [row.metadata for row in found if isinstance(row, Record)] == ['{"n": 1}', '{"n": 2}', '{"n": 3}']
    good = pa.array(["blau", "blau", "rot"]).dictionary_encode()
    assert [json.loads(row.metadata) for row in manifest(path, colour=good) if isinstance(row, Record)] == [
        {"colour": name} for name in ("blau", "blau", "rot")
    ]


@pytest.mark.parametrize("column", ["record_id", "image", "instruction"])
def test_bad_text_in_our_own_columns_rejects_its_row(tmp_path: Path, column: str) -> None:
    first, bad, last = manifest(tmp_path / "m.parquet", **{column: bad_strings(b"r1", b"\xff.png", b"r3")})
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject) and (bad.field, bad.reason) == (column, "is not valid UTF-8")
    assert bad.record_id == (None if column == "record_id" else "b")


def test_a_bad_path_beside_good_bytes_is_not_looked_at(tmp_path: Path) -> None:
    paths = bad_strings(b"a.png", b"\xff.png", b"\xff.png")
    images = pa.StructArray.from_arrays(
        [pa.array([None, b"data", None], pa.binary()), paths], ["bytes", "path"]
    )
    first, second, third = manifest(tmp_path / "m.parquet", image=images)
    assert isinstance(first, Record) and isinstance(second, Record)
    assert read_embedded(str(tmp_path / "m.parquet"), 0, {1}, "image", StorageConfig()) == {1: b"data"}
    assert isinstance(third, Reject) and (third.field, third.reason) == ("image", "is not valid UTF-8")


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ns"), pa.date32(), pa.date64()])
def test_a_time_is_no_name(tmp_path: Path, kind: pa.DataType) -> None:
    count = 86_400_000 if kind == pa.date64() else 1
    found = manifest(tmp_path / "m.parquet", record_id=pa.array([0, count, 3_000_000 * count], kind))
    for row in found:
        assert isinstance(row, Reject) and row.field == "record_id"
        assert row.reason.startswith("should be text, found")


def test_columns_that_are_there_twice_refuse_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    names = ["record_id", "image", "instruction", "sku", "image"]
    pq.write_table(pa.Table.from_arrays([pa.array(["r"])] * 5, names=names), path)
    assert refusal(config(path)).endswith(
        "m.parquet: has the column 'image' twice, as columns 2 and 5; rename or remove one of them"
    )
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), inner)
    outer = pa.StructArray.from_arrays([lists], names=["b"])
    for column, name in ((inner, "meta.a"), (outer, "meta.b.a")):
        columns = [*[pa.array(["r"])] * 3, column]
        pq.write_table(pa.Table.from_arrays(columns, names=[*names[:3], "meta"]), path)
        assert f"has the column '{name}' twice, as columns 1 and 2" in refusal(config(path))


def test_what_python_can_hold_is_as_before() -> None:
    values = [date(2026, 1, 2), None]
    assert read_values(pa.array(values, pa.date32())) == values
    assert read_values(pa.array([datetime(2026, 1, 2), None], pa.timestamp("us"))) == [
        datetime(2026, 1, 2),
        None,
    ]
    assert read_values(bad_strings(b"a", b"\xff")) == ["a", Unkept("is not valid UTF-8")]
