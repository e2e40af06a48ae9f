"""Which files a manifest is of, and that every form gives the same records."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.listing import ManifestFile, list_files
from tests.support.servers.s3 import S3Server
from tests.unit.storage.manifest.manifests import (
    HEAD,
    LOCAL,
    ROWS,
    WRITERS,
    config,
    one,
    read,
    records,
    write_jsonl,
)


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


@pytest.mark.parametrize("manifest", ["", "/**/*.parquet", "-linked"])
def test_results_among_its_files_are_no_part_of_it(tmp_path: Path, manifest: str) -> None:
    """However the location covers them, and however the output is named."""
    folder, out = tmp_path / "in", tmp_path / "in" / "out"
    write_parquet(folder / "m.parquet")
    write_parquet(out / "run-1" / "results" / "00000.parquet")
    (tmp_path / "in-linked").symlink_to(folder)
    (tmp_path / "out-linked").symlink_to(out)
    location = f"{folder}{manifest}"
    for output in (out, tmp_path / "out-linked"):
        files = list_files(config(Path(location)), StorageConfig(), str(output))
        assert [Path(file.path).name for file in files] == ["m.parquet"]
    (named,) = list_files(config(out / "run-1" / "results"), StorageConfig(), str(out))
    assert named.path.endswith("00000.parquet"), "who names results means them"


@pytest.mark.parametrize("manifest", ["", "/**/*.parquet", "/*/../**"])
def test_an_export_among_its_files_is_no_part_of_it(tmp_path: Path, manifest: str) -> None:
    write_parquet(tmp_path / "m.parquet")
    write_parquet(tmp_path / "data" / "train-00001-00000.parquet")  # somebody else's, of such a name
    handed = tmp_path / "handed" / "hf"
    write_parquet(handed / "data" / "train-00001-00000.parquet")
    write_parquet(handed / ".mira-batch" / "00001" / "plan.parquet")
    (handed / ".mira-batch" / "export.json").write_text("{}")
    files = list_files(config(f"{tmp_path}{manifest}"), StorageConfig(), str(tmp_path / "out"))
    found = {str(Path(file.path).resolve().relative_to(tmp_path)) for file in files}
    assert found == {"data/train-00001-00000.parquet", "m.parquet"}


@pytest.mark.parametrize(
    "manifest", ["", "/data/*.parquet", "/*/*.parquet", "/data/train-00001-00000.parquet"]
)
def test_who_names_an_export_means_it(tmp_path: Path, manifest: str) -> None:
    handed = tmp_path / "handed" / "hf"
    write_parquet(handed / "data" / "train-00001-00000.parquet")
    (handed / ".mira-batch").mkdir()
    (handed / ".mira-batch" / "export.json").write_text("{}")
    assert len(list_files(config(f"{handed}{manifest}"), StorageConfig())) == 1
    with pytest.raises(ManifestError, match="holds nothing but results and exports"):
        list_files(config(tmp_path), StorageConfig())


def write_parquet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(ROWS), path)


def test_a_manifest_is_known_by_its_content_and_not_by_its_time(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "m.jsonl")
    before = list_files(config(tmp_path / "m.jsonl"), LOCAL)
    os.utime(tmp_path / "m.jsonl", (1, 1))
    assert list_files(config(tmp_path / "m.jsonl"), LOCAL) == before
    write_jsonl(tmp_path / "m.jsonl", ROWS[:2])
    [after] = list_files(config(tmp_path / "m.jsonl"), LOCAL)
    assert after.version != before[0].version


def test_a_manifest_without_rows_gives_none(tmp_path: Path) -> None:
    for name, text in {"m.csv": HEAD, "blank.jsonl": "\n\n", "bom.csv": "\ufeff\n"}.items():
        assert one(tmp_path / name, text) == []
    pq.write_table(pa.table({k: pa.array([], pa.string()) for k in ROWS[0]}), tmp_path / "m.parquet")
    assert read(config(tmp_path / "m.parquet")) == []


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
