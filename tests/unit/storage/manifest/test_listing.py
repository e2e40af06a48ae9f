from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError, StoreError
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.listing import ManifestFile, list_files, split_manifest
from mira_batch.storage.manifest.rows import Embedded, Record, Reject
from mira_batch.storage.manifest.splits import read_split
from tests.support.servers.s3 import S3Server, free_port

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


def rejects(source: InputConfig) -> list[Reject]:
    return [row for row in read(source) if isinstance(row, Reject)]


def one(path: Path, text: str | bytes, **settings: object) -> list[Record | Reject]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(config(path, **settings))


def refusal(source: InputConfig, storage: StorageConfig = LOCAL) -> str:
    with pytest.raises(ManifestError) as error:
        read(source, storage)
    text = str(error.value)
    assert "\n" not in text and text.startswith(source.manifest.split("*")[0].rstrip("/"))
    return text


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_gives_the_same_records(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    found = records(config(tmp_path / name))
    base = str(tmp_path)
    assert [row.record_id for row in found] == ["r1", "r2", "r3"]
    assert [row.instruction for row in found] == [row["instruction"] for row in ROWS]
    assert [row.image for row in found] == [f"{base}/a.png", f"{base}/sub/b.png", "/abs/c.png"]
    skus = [json.loads(row.metadata)["sku"] for row in found]
    assert skus == ([1, 2, 3] if "csv" not in name else ["1", "2", "3"])
    assert all(row.where.startswith(f"{base}/{name}") for row in found)


@pytest.mark.s3
@pytest.mark.parametrize("name", WRITERS)
def test_every_form_on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    WRITERS[name](tmp_path / name)
    prefix = f"manifests/{name}"
    s3.upload(tmp_path, prefix)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    base = f"s3://{s3.bucket}/{prefix}"
    for location in (f"{base}/{name}", base, f"{base}/*"):
        found = records(config(location), storage)
        assert [row.record_id for row in found] == ["r1", "r2", "r3"]
        assert [row.image for row in found] == [f"{base}/a.png", f"{base}/sub/b.png", "/abs/c.png"]
    [file] = list_files(config(base), storage)
    assert file.path == f"{base}/{name}" and file.version


def test_a_directory_is_read_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, ident in {"z.jsonl": "z", "b/m.jsonl": "b", "a.csv": "a"}.items():
        row = {"record_id": ident, "image": "i.png", "instruction": "x"}
        if name.endswith("csv"):
            (tmp_path / name).write_text("record_id,image,instruction\na,i.png,x\n")
        else:
            write_jsonl(tmp_path / name, [row])
    (tmp_path / "empty.jsonl").touch()
    for name in ("_SUCCESS", ".hidden.jsonl", "_temporary.jsonl", "readme.md", "pic.png"):
        (tmp_path / name).write_text("not a manifest")
    found = records(config(tmp_path))
    assert [row.record_id for row in found] == ["a", "b", "z"]
    assert found[1].image == f"{tmp_path}/b/i.png", "a relative image starts at its own manifest file"


def test_a_glob_takes_what_it_matches(tmp_path: Path) -> None:
    for part in range(3):
        row = {"record_id": f"r{part}", "image": "i.png", "instruction": "x"}
        write_jsonl(tmp_path / f"part-{part}.jsonl", [row])
    assert [r.record_id for r in records(config(tmp_path / "part-[12].jsonl"))] == ["r1", "r2"]
    assert [r.record_id for r in records(config(tmp_path / "*.jsonl"))] == ["r0", "r1", "r2"]


def test_a_manifest_is_known_by_its_content_and_not_by_its_time(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "m.jsonl")
    before = list_files(config(tmp_path / "m.jsonl"), LOCAL)
    os.utime(tmp_path / "m.jsonl", (1, 1))
    assert list_files(config(tmp_path / "m.jsonl"), LOCAL) == before
    write_jsonl(tmp_path / "m.jsonl", ROWS[:2])
    [after] = list_files(config(tmp_path / "m.jsonl"), LOCAL)
    assert after.version != before[0].version


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


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


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


GOOD = '{"record_id": "good", "image": "a.png", "instruction": "x"}'


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("{", "row", "is not valid JSON: Expecting property name"),
        ("[1, 2]", "row", "is JSON, but not an object"),
        ('"text"', "row", "is JSON, but not an object"),
        ("null", "row", "is JSON, but not an object"),
        (b'{"record_id": "\xff"}', "row", "is not valid JSON: 'utf-8' codec can't decode"),
        ("[" * 100_000, "row", "is not valid JSON: maximum recursion depth"),
        ('{"n": ' + "9" * 5_000 + "}", "row", "is not valid JSON: Exceeds the limit"),
        (GOOD[:-1] + ', "n": ' + "[" * 800 + "]" * 800 + "}", "row", "is nested too deeply"),
        ("{}", "record_id", "is missing or null"),
        ('{"record_id": null}', "record_id", "is missing or null"),
        ('{"record_id": ""}', "record_id", "is empty"),
        ('{"record_id": " \\t"}', "record_id", "is empty"),
        ('{"record_id": 1.5}', "record_id", "should be text, found float '1.5'"),
        ('{"record_id": true}', "record_id", "should be text, found bool 'True'"),
        ('{"record_id": "\\ud800"}', "record_id", "is not valid Unicode (a lone surrogate"),
        ('{"record_id": "' + "x" * 513 + '"}', "record_id", "is longer than 512 characters"),
        ('{"record_id": "r", "instruction": null}', "instruction", "is missing or null"),
        ('{"record_id": "r", "instruction": 5}', "instruction", "should be text, found int '5'"),
        ('{"record_id": "r", "instruction": "x"}', "image", "is missing or null"),
        ('{"record_id": "r", "instruction": "x", "image": ""}', "image", "is empty"),
        ('{"record_id": "r", "instruction": "x", "image": "\\udc00"}', "image", "is not valid Unicode"),
        ('{"record_id": "r", "instruction": "x", "image": 5}', "image", "should be text, found int '5'"),
        ('{"record_id": "r", "instruction": "x", "image": ["a"]}', "image", "should be text, found list"),
        ('{"record_id": "r", "instruction": "x", "image": {"url": "a"}}', "image", "is missing or null"),
        (
            '{"record_id": "r", "instruction": "x", "image": {"path": 5}}',
            "image",
            "should be text, found int",
        ),
        (
            '{"record_id": "r", "instruction": "x", "image": "' + "y" * 4097 + '"}',
            "image",
            "is longer than 4096 characters",
        ),
    ],
)
def test_a_bad_json_row_is_rejected_alone(tmp_path: Path, line: str | bytes, field: str, reason: str) -> None:
    line = line.encode() if isinstance(line, str) else line
    first, bad, last = one(tmp_path / "m.jsonl", b"\n".join([GOOD.encode(), line, GOOD.encode()]))
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject)
    assert (bad.where, bad.field) == (f"{tmp_path}/m.jsonl:2", field)
    assert bad.reason.startswith(reason) and len(bad.reason) < 200
    pa.array([bad.where, bad.record_id, bad.field, bad.reason], pa.string())


def test_a_reject_names_its_record_where_that_is_known(tmp_path: Path) -> None:
    lines = ['{"record_id": "r1"}', '{"record_id": 17}', '{"record_id": 1.5}', "nonsense"]
    found = one(tmp_path / "m.jsonl", "\n".join([GOOD, *lines]))[1:]
    assert [row.record_id for row in found] == ["r1", "17", None, None]


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    lines = [GOOD.replace('"good"', number) for number in ("0", "-5", str(10**30))]
    found = one(tmp_path / "m.jsonl", "\n".join(lines))
    assert [row.record_id for row in found] == ["0", "-5", str(10**30)]


def test_blank_lines_a_bom_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    text = f"\ufeff{GOOD}\r\n\r\n   \r\n{GOOD}"
    assert [row.where.rpartition(":")[2] for row in one(tmp_path / "m.jsonl", text)] == ["1", "4"]


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


def test_many_bad_lines_first_do_not_hide_the_good_ones(tmp_path: Path) -> None:
    found = one(tmp_path / "m.jsonl", "nonsense\n" * 30 + GOOD)
    assert len(found) == 31 and isinstance(found[-1], Record)


HEAD = "record_id,image,instruction,n\n"


def test_a_csv_may_quote_newlines_and_be_ragged(tmp_path: Path) -> None:
    text = (
        HEAD + 'r1,a.png,"two\nlines, and ""quotes""",1\n'
        "r2,a.png,short\n"
        "r3\n"
        "\n"
        "r4,a.png,x,1,2,3\n"
        "r5,a.png,x,\n"
    )
    first, short, lone, long, last = one(tmp_path / "m.csv", text)
    assert isinstance(first, Record) and first.instruction == 'two\nlines, and "quotes"'
    assert isinstance(short, Record) and short.metadata == "{}"
    assert isinstance(lone, Reject) and (lone.record_id, lone.field) == ("r3", "instruction")
    assert isinstance(long, Reject) and long.reason == "has more fields than the header (4)"
    assert isinstance(last, Record) and last.metadata == '{"n": ""}'
    found = [first, short, lone, long, last]
    assert [row.where for row in found] == [f"{tmp_path}/m.csv:{line}" for line in (2, 4, 5, 7, 8)]


def test_bad_bytes_in_a_csv_reject_their_row(tmp_path: Path) -> None:
    text = HEAD.encode() + b"r1,a.png,caf\xe9,1\nr2,a.png,caf\xc3\xa9,1\nr3,a.png,x,\xff\n"
    first, second, third = one(tmp_path / "m.csv", text)
    assert isinstance(first, Reject) and first.field == "instruction"
    assert "bytes that are not UTF-8" in first.reason
    assert isinstance(second, Record) and second.instruction == "café"
    assert isinstance(third, Record) and json.loads(third.metadata) == {"n": "?"}


def test_broken_quotes_in_a_csv_reject_what_they_swallow(tmp_path: Path) -> None:
    found = one(tmp_path / "m.csv", HEAD + 'r1,a.png,x,1\nr2,a.png,"never closed,1\nr3,a.png,x,1\n')
    assert isinstance(found[0], Record)
    assert isinstance(found[1], Reject) and found[1].reason.startswith("is not valid CSV: unexpected end")
    with pytest.raises(ManifestError, match="m.csv: its header is not valid CSV: unexpected end of data"):
        one(tmp_path / "m.csv", '"record_id,image,instruction\nr1,a.png,x\n')
    found = one(tmp_path / "m.csv", HEAD + f'r1,a.png,"{"x" * 200_000}",1\nr2,a.png,x,1\n')
    assert isinstance(found[0], Reject) and "field larger than field limit" in found[0].reason
    assert isinstance(found[-1], Record) and found[-1].record_id == "r2"


def test_embedded_bytes_need_a_place(tmp_path: Path) -> None:
    [row] = one(tmp_path / "m.jsonl", '{"record_id": "r", "instruction": "x", "image": {"bytes": "aGk="}}')
    assert isinstance(row, Record) and row.image == f"{tmp_path}/aGk=", "JSON has no bytes, this is text"


def test_a_manifest_without_rows_gives_none(tmp_path: Path) -> None:
    for name, text in {"m.csv": HEAD, "blank.jsonl": "\n\n", "bom.csv": "\ufeff\n"}.items():
        assert one(tmp_path / name, text) == []
    pq.write_table(pa.table({k: pa.array([], pa.string()) for k in ROWS[0]}), tmp_path / "m.parquet")
    assert read(config(tmp_path / "m.parquet")) == []


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").touch()
    assert refusal(config(tmp_path / "m.jsonl")).endswith("the manifest is empty (0 bytes)")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for location in (tmp_path / "m.jsonl", tmp_path / "*.csv", tmp_path / "no" / "dir", tmp_path):
        assert refusal(config(location)).endswith("no such manifest file, directory or glob match")


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.xlsx").write_text("x")
    (tmp_path / "m.parquet.gz").write_text("x")
    for location in (tmp_path / "m.xlsx", tmp_path / "m.parquet.gz"):
        assert "none of the 1 files found is a manifest; names must end in .parquet" in refusal(
            config(location)
        )
    assert "none of the 2 files found" in refusal(config(tmp_path))


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet"])
def test_a_missing_column_is_named_with_those_found(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    names = {"instruction": "prompt", "image": "picture"}
    text = refusal(config(tmp_path / name, columns=names))
    assert "lacks the column 'picture' (set input.columns.image if it has another name) and 'prompt'" in text
    assert text.endswith("columns found: image, instruction, record_id, sku")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "m.parquet")
    whole = (tmp_path / "m.parquet").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"PAR1" + whole[:20], b"x", whole[:-8] + b"xxxxPAR1"):
        (tmp_path / "m.parquet").write_bytes(damaged)
        assert "can't be read as Parquet" in refusal(config(tmp_path / "m.parquet"))


def test_damaged_parquet_pages_are_an_error_and_not_less_rows(tmp_path: Path) -> None:
    table = pa.table({k: [str(i) for i in range(5_000)] for k in ROWS[0]})
    pq.write_table(table, tmp_path / "m.parquet", compression="zstd")
    data = bytearray((tmp_path / "m.parquet").read_bytes())
    data[4:2_000] = bytes(1_996)
    (tmp_path / "m.parquet").write_bytes(bytes(data))
    assert "can't be read to its end" in refusal(config(tmp_path / "m.parquet"))


@pytest.mark.parametrize("name", ["m.jsonl.gz", "m.csv.gz"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, name: str) -> None:
    lines = [GOOD] * 2_000 if "json" in name else [HEAD.strip(), *["r,a.png,x,1"] * 2_000]
    salted = "\n".join(f"{line}{' ' * (i % 7)}" for i, line in enumerate(lines))
    whole = gzip.compress(salted.encode())
    damaged = [
        b"not gzip at all",
        whole[: len(whole) // 2],
        whole[:40] + b"\xff" * 40 + whole[80:],
        whole[:-8] + b"\0" * 8,
    ]
    for data in damaged:
        (tmp_path / name).write_bytes(data)
        assert "can't be read to its end" in refusal(config(tmp_path / name))


def test_a_manifest_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    write_jsonl(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").chmod(0)
    assert "check the path and the credentials" in refusal(config(tmp_path / "m.jsonl"))


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreError, match="^nonsense://x/m.jsonl: can't use this scheme"):
        list_files(config("nonsense://x/m.jsonl"), LOCAL)


def test_a_dead_endpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    endpoint = f"http://127.0.0.1:{free_port()}"
    storage = StorageConfig(endpoint_url=endpoint, timeout_seconds=1, retry_seconds=1)
    text = refusal(config("s3://bucket/m.jsonl"), storage)
    assert "can't be listed; check the path and the credentials (EndpointConnectionError" in text


@pytest.mark.s3
def test_s3_refusals(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    missing = "no such manifest file, directory or glob match"
    assert missing in refusal(config(f"s3://{s3.bucket}/nowhere/m.jsonl"), storage)
    assert missing in refusal(config("s3://no-such-bucket/m.jsonl"), storage)
    s3.client().put_object(Bucket=s3.bucket, Key="empty/m.csv", Body=b"")
    assert "is empty (0 bytes)" in refusal(config(f"s3://{s3.bucket}/empty/m.csv"), storage)


def test_formats_are_told_by_name() -> None:
    assert {
        name: listing._detect_format(name) for name in ("a.PQ", "a.csv.GZ", "a.gz", "csv", "a.json.gz")
    } == {
        "a.PQ": "parquet",
        "a.csv.GZ": "csv",
        "a.gz": None,
        "csv": None,
        "a.json.gz": "jsonl",
    }
    assert ManifestFile("a", "csv", "1") != ManifestFile("a", "csv", "2")
