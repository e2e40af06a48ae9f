"""Manifests that are refused as a whole."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.listing import list_files
from tests.support.servers.s3 import S3Server, free_port
from tests.unit.storage.manifest.manifests import (
    GOOD,
    HEAD,
    LOCAL,
    ROWS,
    WRITERS,
    config,
    refusal,
    write_jsonl,
    write_parquet,
)


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
        said = refusal(config(tmp_path / name))
        assert "can't be read to its end" in said
        assert ("drop .gz" if data == damaged[0] else "copy it again") in said


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that any user can reach, which pytest's own is not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom the modes of files hold for: root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet", "m.jsonl.gz"])
def test_a_manifest_that_may_not_be_read_is_refused(shared: Path, name: str) -> None:
    WRITERS[name](shared / name)
    (shared / name).chmod(0)
    for location in (shared / name, shared, shared / "*"):
        with without_rights():
            text = refusal(config(location))
        assert text.startswith(
            f"{shared}/{name}: can't be read: PermissionError: [Errno 13] Permission denied"
        )


def test_a_large_one_is_refused_as_well(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known by size and time, and opened only later."""
    monkeypatch.setattr(listing, "_HASHED_BYTES", 0)
    for name in ("m.csv", "m.parquet", "m.jsonl"):
        WRITERS[name](shared / name)
        (shared / name).chmod(0)
        with without_rights():
            text = refusal(config(shared / name))
        assert text.startswith(f"{shared}/{name}: can't be read ") and "Permission" in text


def test_folders_that_may_not_be_listed_are_refused(shared: Path) -> None:
    """Also below the manifest's: its files would be missing without a word."""
    write_jsonl(shared / "m.jsonl")
    (shared / "part").mkdir()
    write_jsonl(shared / "part" / "m.jsonl")
    (shared / "part").chmod(0)
    for location in (shared, shared / "part", shared / "part" / "m.jsonl", shared / "part" / "?.jsonl"):
        with without_rights():
            text = refusal(config(location))
        assert "the manifest can't be listed; check the path and the credentials (PermissionError" in text


AS_NOBODY = """
import codecs, os, sys
codecs.lookup("utf-8-sig")  # what is imported later, nobody may not be allowed to read
import mira_batch.cli.commands, mira_batch.cli.runs, mira_batch.edit.preflight
import mira_batch.runtime.backends.inline, mira_batch.storage.manifest
if os.geteuid() == 0:
    os.seteuid(65534)
sys.exit(mira_batch.cli.main(sys.argv[1:]))
"""


def test_the_command_line_says_it_in_one_line(shared: Path) -> None:
    write_jsonl(shared / "m.jsonl")
    (shared / "m.jsonl").chmod(0)
    settings = {"input": {"manifest": f"{shared}/m.jsonl"}, "output": {"uri": f"{shared}/out"}}
    (shared / "c.json").write_text(json.dumps(settings | {"backend": "inline"}))
    command = [sys.executable, "-c", AS_NOBODY, "plan", "--config", f"{shared}/c.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {shared}/m.jsonl: can't be read: PermissionError")
    assert done.stderr.count("\n") == 1


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


def test_whoever_set_no_credentials_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage = StorageConfig(endpoint_url=f"http://127.0.0.1:{free_port()}", retry_seconds=60)
    text = refusal(config("s3://bucket/m.jsonl"), storage)
    assert "can't be listed; no credentials are set; set AWS_ACCESS_KEY_ID and AWS_SECRET" in text


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
