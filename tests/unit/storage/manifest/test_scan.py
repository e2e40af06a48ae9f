from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ManifestError, RecordError
from mira_batch.core.identity import content_hash, fingerprint, work_id
from mira_batch.storage.images import check_allowed
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.scan import SCAN, scan_split
from mira_batch.storage.stores.files import read_version
from tests.support.servers.s3 import S3Server


def config(manifest: object, **settings: Any) -> BulkEditConfig:
    given = {"manifest": str(manifest)} | settings.pop("input", {})
    return BulkEditConfig.model_validate({"input": given, "output": {"uri": "/out"}} | settings)


def scan(settings: BulkEditConfig) -> list[dict[str, Any]]:
    pieces = split_manifest(list_files(settings.input, settings.storage), settings.input, settings.storage)
    tables = [
        table
        for piece in pieces
        for table in scan_split(piece, settings.input, settings.storage, fingerprint(settings.pixels()))
    ]
    assert all(table.schema.equals(SCAN) for table in tables)
    return pa.concat_tables([SCAN.empty_table(), *tables]).to_pylist()


def write(folder: Path, *rows: object) -> Path:
    path = folder / "m.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def row(ident: str, image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"record_id": ident, "image": image, "instruction": "x"} | more


def test_records_and_rejects_come_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"image")
    path = write(tmp_path, row("r1", sku=1), "nonsense", row("r2"), {"record_id": "r3"})
    settings = config(path)
    first, bad, second, lacking = scan(settings)
    pipeline = fingerprint(settings.pixels())
    image = f"{tmp_path}/a.png"
    identity = f"{image}\n{read_version(image, settings.storage)}"
    assert first == {
        "record_id": "r1",
        "work_id": work_id("r1", identity, "x", pipeline),
        "instruction": "x",
        "image_uri": image,
        "image_file": None,
        "image_row_group": None,
        "image_row": None,
        "metadata": '{"sku": 1}',
        "image_part": content_hash(identity, size=8),
        "instruction_part": content_hash("x", size=8),
        "where": f"{path}:1",
        "field": None,
        "reason": None,
        "digest": blake2b(b"r1", digest_size=16).digest(),
    }
    assert (bad["work_id"], bad["where"], bad["field"]) == (None, f"{path}:2", "row")
    assert bad["reason"].startswith("is not valid JSON")
    assert second["work_id"] == work_id("r2", identity, "x", pipeline)
    assert (lacking["record_id"], lacking["field"]) == ("r3", "instruction")


def test_a_changed_image_is_other_work(tmp_path: Path) -> None:
    path = write(tmp_path, row("r1"))
    (tmp_path / "a.png").write_bytes(b"one")
    [before] = scan(config(path))
    (tmp_path / "a.png").write_bytes(b"another")
    [after] = scan(config(path))
    assert before["work_id"] != after["work_id"]


def test_identity_by_uri_looks_nothing_up(tmp_path: Path) -> None:
    path = write(tmp_path, row("r1"))
    by_uri = config(path, input={"identity": "uri"})
    (tmp_path / "a.png").write_bytes(b"one")
    [before] = scan(by_uri)
    (tmp_path / "a.png").write_bytes(b"another")
    assert scan(by_uri) == [before]
    assert scan(config(path))[0]["work_id"] != before["work_id"]


def test_what_gives_other_pixels_is_other_work(tmp_path: Path) -> None:
    path = write(tmp_path, row("r1"))
    same = {scan(config(path, **kind))[0]["work_id"] for kind in ({}, {"workers": {"shard_size": 3}})}
    assert len(same) == 1
    other = scan(config(path, limits={"max_steps": 3}))[0]["work_id"]
    assert other not in same


@pytest.mark.parametrize("image", ["missing.png", "../outside.png", "/etc/hostname", "a\0b.png", "x::y"])
def test_an_image_that_cannot_be_looked_up_is_planned_and_fails_later(tmp_path: Path, image: str) -> None:
    [found] = scan(config(write(tmp_path, row("r1", image))))
    assert found["reason"] is None and len(found["work_id"]) == 32


def test_a_local_image_is_known_however_it_is_reached(tmp_path: Path) -> None:
    """By its size and time where it is allowed, through links and odd ways of writing its path, too."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (inside / "a.png", inside / "sub" / "b.png", outside / "c.png"):
        path.write_bytes(path.name.encode())
    (inside / "file").symlink_to(inside / "sub" / "b.png")
    (inside / "escape").symlink_to(outside / "c.png")
    (inside / "folder").symlink_to(inside / "sub")
    (inside / "way-out").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    names = ["a.png", "./a.png", "sub/b.png", "sub//b.png", "file", "folder/b.png", "sub", "sub/", "sub/."]
    names += ["escape", "way-out/c.png", "loop", "gone.png", "a.png/x", "nowhere/a.png", "..a.png", "a::b"]
    names += [str(outside / "c.png"), "sub/../a.png", str(inside), "/"]
    settings = config(write(inside, *(row(f"r{i}", name) for i, name in enumerate(names))))
    pipeline = fingerprint(settings.pixels())
    for found, name in zip(scan(settings), names, strict=True):
        uri = found["image_uri"]
        try:
            check_allowed(uri, settings.input.allowed)
            known = read_version(uri, settings.storage)
        except (RecordError, OSError):
            known = "unknown"
        assert found["work_id"] == work_id(found["record_id"], f"{uri}\n{known}", "x", pipeline), name
        assert (known == "unknown") == (name in names[9:-2] or name == "/"), name


def test_embedded_images_are_known_by_their_content(tmp_path: Path) -> None:
    columns = {"record_id": ["a", "b", "c"], "image": [b"one", b"two", b"one"], "instruction": ["x"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet", row_group_size=2)
    settings = config(tmp_path / "m.parquet")
    found = scan(settings)
    assert [(r["image_file"], r["image_row_group"], r["image_row"]) for r in found] == [
        (f"{tmp_path}/m.parquet", 0, 0),
        (f"{tmp_path}/m.parquet", 0, 1),
        (f"{tmp_path}/m.parquet", 1, 0),
    ]
    assert all(r["image_uri"] is None for r in found)
    assert found[0]["work_id"] == work_id("a", content_hash(b"one"), "x", fingerprint(settings.pixels()))


def test_many_rows_come_in_several_tables(tmp_path: Path) -> None:
    settings = config(write(tmp_path, *(row(f"r{i}") for i in range(5_001))))
    [piece] = split_manifest(list_files(settings.input, settings.storage), settings.input, settings.storage)
    assert [
        table.num_rows
        for table in scan_split(piece, settings.input, settings.storage, fingerprint(settings.pixels()))
    ] == [5_000, 1]


def test_a_file_that_is_damaged_further_down_is_an_error(tmp_path: Path) -> None:
    columns = {name: [f"{name}{i}" for i in range(3_000)] for name in ("record_id", "image", "instruction")}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet", row_group_size=1_000)
    data = bytearray((tmp_path / "m.parquet").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1_000] = bytes(1_000)
    (tmp_path / "m.parquet").write_bytes(bytes(data))
    with pytest.raises(ManifestError, match="m.parquet: can't be read to its end"):
        scan(config(tmp_path / "m.parquet"))


@pytest.mark.s3
def test_s3_images_are_known_by_their_etag(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    base = f"s3://{s3.bucket}/scan"
    client = s3.client()
    rows = [row(f"r{i}", f"img/{i}.png") for i in range(40)] + [row("away", "s3://elsewhere/x.png")]
    client.put_object(Bucket=s3.bucket, Key="scan/m.jsonl", Body="\n".join(map(json.dumps, rows)).encode())
    for i in range(40):
        client.put_object(Bucket=s3.bucket, Key=f"scan/img/{i}.png", Body=f"image {i % 2}".encode())
    settings = config(f"{base}/m.jsonl", storage={"endpoint_url": s3.endpoint})
    found = scan(settings)
    assert [r["image_uri"] for r in found[:2]] == [f"{base}/img/0.png", f"{base}/img/1.png"]
    assert len({r["work_id"] for r in found}) == 41
    assert scan(settings) == found
    client.put_object(Bucket=s3.bucket, Key="scan/img/7.png", Body=b"changed")
    again = scan(settings)
    assert [i for i in range(41) if again[i]["work_id"] != found[i]["work_id"]] == [7]
