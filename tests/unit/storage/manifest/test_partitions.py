"""Columns that a manifest's folders hold."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.partitions import find_partition
from mira_batch.storage.manifest.rows import Record, Reject
from tests.support.servers.s3 import S3Server
from tests.unit.storage.manifest.manifests import LOCAL, config, read, records, refusal, write_jsonl

COLUMNS = {"record_id": ["a", "b"], "image": ["i.png"] * 2, "instruction": ["x"] * 2}


def metadata(location: object, storage: StorageConfig = LOCAL) -> list[dict[str, object]]:
    return [json.loads(row.metadata) for row in records(config(location), storage)]


def write(path: Path, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(COLUMNS | more)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        rows = [COLUMNS | more, *table.to_pylist()]
        path.write_text(
            "\n".join(",".join(rows[0] if row is rows[0] else map(str, row.values())) for row in rows)
        )
    else:
        write_jsonl(path, table.to_pylist())


def test_what_arrow_writes_is_read_whole(tmp_path: Path) -> None:
    table = pa.table(COLUMNS | {"shop": ["ü/1 %", None], "day": ["2026-01-01", "2026-01-02"], "n": [1, 2]})
    ds.write_dataset(
        table, tmp_path / "m", format="parquet", partitioning=["day", "shop"], partitioning_flavor="hive"
    )
    expected = [
        {"n": 1, "day": "2026-01-01", "shop": "ü/1 %"},
        {"n": 2, "day": "2026-01-02", "shop": None},
    ]
    assert metadata(tmp_path / "m") == metadata(tmp_path / "m" / "day=*" / "*" / "*.parquet") == expected
    only = config(tmp_path / "m", columns={"metadata": ["shop"]})
    assert [row.metadata for row in records(only)] == ['{"shop": "\\u00fc/1 %"}', '{"shop": null}']


@pytest.mark.parametrize("end", ["parquet", "csv", "jsonl"])
def test_folders_are_columns_in_every_form(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 50)
    write(tmp_path / "cat" / "dt=1" / "plain" / f"m.{end}")
    write(tmp_path / "cat" / f"m.{end}")
    assert metadata(tmp_path / "cat") == [{"dt": "1"}] * 2 + [{}] * 2
    assert metadata(tmp_path / "cat" / "dt=1") == [{}] * 2, "what the user names is not below it"
    assert metadata(tmp_path / "cat" / "dt=1" / "plain" / f"m.{end}") == [{}] * 2
    assert metadata(tmp_path / "c*" / "dt=1" / "*" / f"m.{end}") == [{"dt": "1"}] * 2


@pytest.mark.parametrize("end", ["parquet", "csv", "jsonl"])
def test_a_folder_may_hold_a_column_that_is_needed(tmp_path: Path, end: str) -> None:
    write(tmp_path / "instruction=crop it%3D" / f"m.{end}")
    path = tmp_path / "instruction=crop it%3D" / f"m.{end}"
    given = config(tmp_path, columns={"metadata": []})
    found = read(given)
    assert [row.reason for row in found if isinstance(row, Reject)] == [
        "is 'x', but the folder says instruction=crop it="
    ] * 2
    table = pa.table({"record_id": ["a"], "image": ["i.png"]})
    if end == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text("record_id,image\na,i.png\n" if end == "csv" else json.dumps(table.to_pylist()[0]))
    assert [row.instruction for row in records(config(tmp_path))] == ["crop it="]


@pytest.mark.parametrize("end", ["parquet", "csv", "jsonl"])
def test_a_row_that_says_something_else_is_a_reject(tmp_path: Path, end: str) -> None:
    write(tmp_path / "n=5" / f"m.{end}", n=[5, 6])
    same, other = read(config(tmp_path))
    assert isinstance(same, Record) and json.loads(same.metadata) == {"n": "5" if end == "csv" else 5}
    assert other == Reject(other.where, "b", "n", "is '6', but the folder says n=5")


def test_two_folders_of_one_name_refuse_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a=1" / "b=2" / "a=1" / "m.csv")
    assert refusal(config(tmp_path)).endswith(
        "m.csv: two of its folders hold the column 'a'; rename one of them"
    )


def test_a_folder_that_is_no_text_rejects_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "n=caf%E9" / "m.csv")
    for row in read(config(tmp_path)):
        assert isinstance(row, Reject) and row.field == "n" and row.reason.startswith("is not valid Unicode")


def test_folders_that_are_no_columns_are_names() -> None:
    assert find_partition("/c", "/c/=x/y/z=/m.csv") == (("z", ""),)
    assert find_partition("s3a://b/c", "s3://b/c/k=a%2Fb=c/m.csv") == (("k", "a/b=c"),)
    assert find_partition("/c/k=1/m.csv", "/c/k=1/m.csv") == ()


@pytest.mark.s3
def test_folders_on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    write(tmp_path / "day=2026-01-01" / "m.parquet")
    s3.upload(tmp_path, "hive")
    storage = StorageConfig(endpoint_url=s3.endpoint)
    for location in ("hive", "hive/*/m.parquet"):
        assert metadata(f"s3://{s3.bucket}/{location}", storage) == [{"day": "2026-01-01"}] * 2
