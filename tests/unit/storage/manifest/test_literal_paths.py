"""What exists as it is written is meant as it is written: brackets, stars and question marks in names."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.storage.images import check_allowed
from tests.support.servers.s3 import S3Server
from tests.unit.storage.manifest.manifests import LOCAL, config, records, refusal, write_jsonl

NEIGHBOURS = {
    "Summer [2026]": "Summer 2",
    "new? old": "newX old",
    "all*": "all of them",
    "[!a]": "b",
    "[": "none",
    "a]b[c": "aXb",
    "100% [ä]": "100% ä",
    "set[0-9]": "set7",
}
"""A name that looks like a pattern, and one that the pattern matches (or would, were it whole)."""


def put(path: Path, name: str) -> None:
    """A manifest of one record, which is named."""
    row = {"record_id": name, "image": "i.png", "instruction": "x"}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif path.suffix == ".csv":
        path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    else:
        data = f"{json.dumps(row)}\n".encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def ids(location: object, storage: StorageConfig = LOCAL) -> list[str]:
    return [record.record_id for record in records(config(location), storage)]


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("end", ["jsonl", "csv", "parquet", "jsonl.gz"])
def test_a_name_that_exists_is_no_pattern(tmp_path: Path, name: str, end: str) -> None:
    for folder in (name, NEIGHBOURS[name]):
        put(tmp_path / folder / f"m.{end}", f"in {folder}")
        put(tmp_path / f"{folder}.{end}", f"the file {folder}")
    assert ids(tmp_path / name / f"m.{end}") == ids(tmp_path / name) == [f"in {name}"]
    assert ids(tmp_path / f"{name}.{end}") == [f"the file {name}"]
    [record] = records(config(tmp_path / name))
    assert record.image == f"{tmp_path}/{name}/i.png"


def test_a_pattern_below_a_name_that_exists_is_one(tmp_path: Path) -> None:
    for folder in ("y [12]", "y 1"):
        for part in "123":
            put(tmp_path / folder / "q [x]" / f"part-{part}.jsonl", f"{folder} {part}")
    assert ids(tmp_path / "y [12]" / "q [x]" / "part-[12].jsonl") == ["y [12] 1", "y [12] 2"]
    assert ids(tmp_path / "y [12]" / "*" / "part-?.jsonl") == ["y [12] 1", "y [12] 2", "y [12] 3"]
    assert ids(tmp_path / "y ?" / "*" / "part-3.jsonl") == ["y 1 3"], "no folder is called 'y ?'"
    assert ids(tmp_path / "y [1]" / "**" / "*-1.jsonl") == ["y 1 1"]


def test_what_does_not_exist_is_a_pattern_still(tmp_path: Path) -> None:
    put(tmp_path / "m1.jsonl", "one")
    assert ids(tmp_path / "m[12].jsonl") == ids(tmp_path / "m?.jsonl") == ["one"]
    put(tmp_path / "m[12].jsonl", "literal")
    assert ids(tmp_path / "m[12].jsonl") == ["literal"]
    assert ids(tmp_path / "m*.jsonl") == ["one", "literal"]
    assert refusal(config(tmp_path / "m1.jsonl" / "*.jsonl")).endswith(
        "no such manifest file, directory or glob match"
    )


def test_images_must_lie_under_the_folder_that_is_meant(tmp_path: Path) -> None:
    for folder in NEIGHBOURS:
        put(tmp_path / folder / "m.jsonl", "r")
        source = config(tmp_path / folder / "m.jsonl")
        assert source.allowed == config(tmp_path / folder).allowed == (f"{tmp_path}/{folder}",)
        [record] = records(source)
        assert isinstance(record.image, str)
        check_allowed(record.image, source.allowed)
        with pytest.raises(RecordError, match="lies outside"):
            check_allowed(f"{tmp_path}/{NEIGHBOURS[folder]}/i.png", source.allowed)
    assert config(tmp_path / "nothing [x]" / "m.jsonl").allowed == (str(tmp_path),)


@pytest.mark.s3
def test_names_on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    for name in NEIGHBOURS:
        for folder in (name, NEIGHBOURS[name]):
            for end in ("jsonl", "parquet"):
                put(tmp_path / folder / f"part-1.{end}", f"{folder} {end}")
    s3.upload(tmp_path, "literal")
    base = f"s3://{s3.bucket}/literal"
    for name in NEIGHBOURS:
        for end in ("jsonl", "parquet"):
            assert ids(f"{base}/{name}/part-1.{end}", storage) == [f"{name} {end}"]
            assert ids(f"{base}/{name}/part-?.{end}", storage) == [f"{name} {end}"]
        assert ids(f"{base}/{name}", storage) == [f"{name} jsonl", f"{name} parquet"]
    assert ids(f"{base}/set[78]/*", storage) == ["set7 jsonl", "set7 parquet"]
    [record] = records(config(f"{base}/Summer [2026]/part-1.jsonl"), storage)
    assert record.image == f"{base}/Summer [2026]/i.png"


def test_links_to_files_are_files(tmp_path: Path) -> None:
    """As a cache of the hub lays them out."""
    put(tmp_path / "blobs" / "a1.jsonl", "a")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "m.jsonl").symlink_to("../blobs/a1.jsonl")
    for location in ("snapshot", "snapshot/*.jsonl", "snapshot/m.jsonl"):
        assert ids(tmp_path / location) == ["a"]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    put(tmp_path / "m.jsonl", "a")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    (tmp_path / "folder.jsonl").mkdir()
    assert ids(tmp_path) == ids(tmp_path / "*.jsonl") == ["a"]
    assert "is neither a file nor a directory" in refusal(config(tmp_path / "pipe.jsonl"))
    assert refusal(config(tmp_path / "gone.jsonl")).endswith("no such manifest file, directory or glob match")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "m.jsonl")
    os.rename(tmp_path / "m.jsonl", os.fsencode(tmp_path) + b"/m\xe9.jsonl")
    assert refusal(config(tmp_path)).endswith(r"/m\xe9.jsonl: its name is not valid UTF-8; rename it")
