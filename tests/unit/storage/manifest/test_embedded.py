"""Images embedded in Parquet manifests: found again, and read once however the shards come."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.storage.manifest.embedded import EmbeddedReader, read_embedded
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.rows import Embedded, Record
from mira_batch.storage.manifest.splits import read_split
from mira_batch.storage.schema import IMAGE
from tests.support.servers.s3 import S3Server

LOCAL = StorageConfig()


def embedded_table(count: int, kind: pa.DataType) -> tuple[pa.Table, list[bytes]]:
    data = [f"picture {i} ".encode() * (i % 7 + 1) for i in range(count)]
    values = [{"bytes": d, "path": "x.png"} for d in data] if pa.types.is_struct(kind) else data
    columns = {
        "record_id": [f"r{i}" for i in range(count)],
        "image.alt": ["an innocent column whose name starts alike"] * count,
        "image": pa.array(values, kind),
        "instruction": ["x"] * count,
    }
    return pa.table(columns), data


def records(manifest: object, storage: StorageConfig = LOCAL) -> list[Record]:
    source = InputConfig(manifest=str(manifest))
    pieces = split_manifest(list_files(source, storage), source, storage)
    rows = [row for piece in pieces for row in read_split(piece, source, storage)]
    assert all(isinstance(row, Record) for row in rows)
    return [row for row in rows if isinstance(row, Record)]


def photographs(path: Path, count: int, size: int, row_group_size: int | None = None) -> list[bytes]:
    """A manifest of images that can't be compressed, each of `size` bytes."""
    data = [os.urandom(size) for _ in range(count)]
    table = pa.table({"image": pa.array([{"bytes": d, "path": None} for d in data], IMAGE)})
    pq.write_table(table, path, row_group_size=row_group_size)
    return data


def bytes_read() -> int:
    """What this process has read from files since it started."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), IMAGE], ids=str)
def test_embedded_images_are_found_again(tmp_path: Path, kind: pa.DataType) -> None:
    table, data = embedded_table(500, kind)
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=150)
    wanted: dict[int, dict[int, int]] = {}
    for index, row in enumerate(records(tmp_path / "m.parquet")):
        assert isinstance(row.image, Embedded)
        assert row.image.digest == content_hash(data[index])
        assert row.where == str(row.image.place)
        wanted.setdefault(row.image.place.row_group, {})[row.image.place.row] = index
    assert sorted(wanted) == [0, 1, 2, 3]
    path = str(tmp_path / "m.parquet")
    reader = EmbeddedReader("image", LOCAL)
    for group, rows in wanted.items():
        assert reader.read(path, group, set(rows)) == {row: data[index] for row, index in rows.items()}
    assert read_embedded(path, 1, {0, 149}, "image", LOCAL) == {0: data[150], 149: data[299]}
    assert read_embedded(path, 1, set(), "image", LOCAL) == {}


@pytest.mark.s3
def test_embedded_images_on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    table, data = embedded_table(20, IMAGE)
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=8)
    s3.upload(tmp_path, "embedded")
    storage = StorageConfig(endpoint_url=s3.endpoint)
    image = records(f"s3://{s3.bucket}/embedded/m.parquet", storage)[-1].image
    assert isinstance(image, Embedded)
    back = read_embedded(image.place.file, image.place.row_group, {image.place.row}, "image", storage)
    assert back == {image.place.row: data[-1]}


LARGE = {"count": 600, "size": 70_000}
"""More in one row group than is read at once."""


@pytest.mark.parametrize("threads", [1, 4])
def test_shards_in_order_read_a_large_row_group_once(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "m.parquet"
    data = photographs(path, **LARGE)
    reader = EmbeddedReader("image", LOCAL)

    def shard(first: int) -> None:
        rows = range(first, first + 15)
        assert reader.read(str(path), 0, set(rows)) == {row: data[row] for row in rows}

    before = bytes_read()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shard, range(0, 600, 15)))
    assert bytes_read() - before < 1.3 * path.stat().st_size


def test_an_overtaken_shard_finds_its_images_and_one_long_past_does_too(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    data = photographs(path, **LARGE)
    reader = EmbeddedReader("image", LOCAL)
    before = bytes_read()
    for first in (60, 0, 30, 150, 120, 90, 590):
        rows = range(first, first + 10)
        assert reader.read(str(path), 0, set(rows)) == {row: data[row] for row in rows}
    once = bytes_read() - before
    assert once < 1.3 * path.stat().st_size
    assert reader.read(str(path), 0, {0, 61, 599}) == {0: data[0], 61: data[61], 599: data[599]}
    assert bytes_read() - before > 1.9 * path.stat().st_size, "handed out already, so read again"


def test_small_row_groups_are_read_once_whatever_the_order(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    data = photographs(path, 200, 20_000, row_group_size=50)
    reader = EmbeddedReader("image", LOCAL)
    before = bytes_read()
    for first in (20, 0, 40, 10, 30):
        for group in (2, 0, 3, 1):
            rows = range(first, first + 10)
            assert reader.read(str(path), group, set(rows)) == {r: data[50 * group + r] for r in rows}
    assert bytes_read() - before < 1.3 * path.stat().st_size


def test_what_is_passed_over_is_held_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    data = photographs(path, 110, 1_000_000, row_group_size=100)
    reader = EmbeddedReader("image", LOCAL)
    tracemalloc.start()
    try:
        assert reader.read(str(path), 0, {99}) == {99: data[99]}
        assert reader.read(str(path), 1, {9}) == {9: data[109]}
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 50_000_000 < held < 66_000_000
    assert reader.read(str(path), 0, {3, 98}) == {3: data[3], 98: data[98]}


ONE_ROW_GROUP = """
import sys
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.manifest.embedded import EmbeddedReader

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024

reader = EmbeddedReader("image", StorageConfig())
reader.read(sys.argv[2], 0, {0})
before = peak()
for first in range(0, 3000, 40):
    reader.read(sys.argv[1], 0, set(range(first, first + 40)))
print(peak() - before)
"""


def test_a_row_group_of_any_size_takes_the_memory_of_a_few_pages(tmp_path: Path) -> None:
    """pyarrow's pages are of 1,024 images: with the dictionary's, three of them may be there at once."""
    photographs(tmp_path / "large.parquet", 3_000, 30_000)
    photographs(tmp_path / "small.parquet", 1, 30_000)
    names = [str(tmp_path / name) for name in ("large.parquet", "small.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", ONE_ROW_GROUP, *names], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4 * 1_024 * 30_000


def test_embedded_images_that_are_gone_are_named(tmp_path: Path) -> None:
    table, data = embedded_table(10, pa.binary())
    path = str(tmp_path / "m.parquet")
    reader = EmbeddedReader("image", LOCAL)
    pq.write_table(table, path)
    with pytest.raises(ManifestError, match="no image in row 10; the file was changed after the run was"):
        reader.read(path, 0, {1, 10})
    with pytest.raises(ManifestError, match="row group 7 holds no image in row 0"):
        reader.read(path, 7, {0})
    with pytest.raises(ManifestError, match="holds no image in row 0"):
        read_embedded(path, 0, {0}, "picture", LOCAL)
    assert reader.read(path, 0, {1, 9}) == {1: data[1], 9: data[9]}
    columns = {"image": pa.array([None, b"x"], pa.binary())}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ManifestError, match="no image in row 0"):
        read_embedded(path, 0, {0, 1}, "image", LOCAL)
    shutil.copyfile(__file__, path)
    with pytest.raises(ManifestError, match="can't be read as Parquet"):
        read_embedded(path, 0, {0}, "image", LOCAL)


def test_after_a_damaged_page_the_reader_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    data = photographs(path, 1_100, 1_000)
    whole = path.read_bytes()
    header = whole.index(data[1_024]) - 60  # of the second page
    reader = EmbeddedReader("image", LOCAL)
    path.write_bytes(whole[:header] + bytes(60) + whole[header + 60 :])
    with pytest.raises(ManifestError, match=r"m\.parquet: can't be read to its end"):
        reader.read(str(path), 0, {5, 1_099})
    path.write_bytes(whole)
    assert reader.read(str(path), 0, {6, 1_099}) == {6: data[6], 1_099: data[1_099]}
