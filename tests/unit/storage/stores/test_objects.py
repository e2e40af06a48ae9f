"""Stores of objects: what holds for every kind, and for local ones in particular."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.check import check_create_only
from mira_batch.storage.stores.faults import explain_store_error
from mira_batch.storage.stores.local import delete_temporaries, write_file
from mira_batch.storage.stores.objects import Entry, Store, open_store
from tests.support import ROOT
from tests.support.servers.s3 import S3Server
from tests.unit.storage.stores.environments import Environment


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path, environment: Environment) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "run"), StorageConfig())
    if request.param == "memory":
        return open_store("memory:///run", StorageConfig())
    s3: S3Server = request.getfixturevalue("s3")
    environment(s3.environment)
    uri = f"s3://{s3.bucket}/objects/{request.node.name}"
    return open_store(uri, StorageConfig(endpoint_url=s3.endpoint))


def test_a_created_object_stands(store: Store) -> None:
    assert store.get("a/b.bin") is None
    assert not store.exists("a/b.bin")
    assert store.create("a/b.bin", b"first")
    assert not store.create("a/b.bin", b"second")
    assert store.get("a/b.bin") == b"first"
    assert store.exists("a/b.bin")


def test_put_replaces(store: Store) -> None:
    store.put("a", b"first")
    store.put("a", b"second, longer")
    assert store.get("a") == b"second, longer"
    assert not store.create("a", b"third")


def test_empty_and_large_objects_are_whole(store: Store) -> None:
    large = os.urandom(12_000_000)
    assert store.create("empty", b"")
    assert store.create("large", large)
    assert store.get("empty") == b""
    assert store.get("large") == large
    assert not store.create("empty", b"x")


def test_a_deleted_name_can_be_created_again(store: Store) -> None:
    store.create("a", b"first")
    store.delete(["a"])
    assert store.get("a") is None
    assert store.create("a", b"second")


def test_deleting_what_is_not_there_is_fine(store: Store) -> None:
    for name in ("d/1", "d/2", "d/3"):
        store.create(name, b"x")
    store.delete([])
    store.delete(["nothing"])
    store.delete(["d/0", "d/1", "nothing/at/all", "d/3", "d/4"])
    assert [entry.key for entry in store.list("d")] == ["d/2"]
    store.delete(iter(["d/2"]))
    assert list(store.list("d")) == []


def test_list_takes_whole_path_parts(store: Store) -> None:
    for key, data in {"s/1/a": b"1", "s/1/b/c": b"22", "s/10/a": b"333"}.items():
        store.create(key, data)
    assert sorted(store.list("s/1"), key=lambda entry: entry.key) == [Entry("s/1/a", 1), Entry("s/1/b/c", 2)]
    assert len(list(store.list("s"))) == 3
    assert len(list(store.list(""))) == 3
    assert list(store.list("nowhere")) == []


def test_children_are_the_directories_below_the_root(store: Store) -> None:
    assert store.list_folders() == []
    for key in ("b/run.json", "a/x/y", "file"):
        store.create(key, b"x")
    assert store.list_folders() == ["a", "b"]


def test_list_goes_beyond_one_page(store: Store) -> None:
    keys = {f"many/{i:04d}" for i in range(1_100)}
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: store.create(key, b""), keys))
    assert {entry.key for entry in store.list("many")} == keys
    store.delete(keys)
    assert list(store.list("many")) == []


def test_of_sixteen_racing_creates_one_wins_and_its_bytes_stand(store: Store) -> None:
    for number in range(25):
        key, wins, data = race(store, number)
        assert wins.count(True) == 1
        assert store.get(key) == data[wins.index(True)]


def race(store: Store, number: int) -> tuple[str, list[bool], list[bytes]]:
    key = f"race/{number}"
    data = [f"racer {racer} ".encode() * 500 for racer in range(16)]
    start = threading.Barrier(16)

    def run(racer: int) -> bool:
        start.wait()
        return store.create(key, data[racer])

    with ThreadPoolExecutor(16) as pool:
        return key, list(pool.map(run, range(16))), data


def test_creates_race_with_the_clean_up_of_empty_directories(tmp_path: Path) -> None:
    """Deleting a shard's last step removes its directory, maybe just when a step is put there."""
    store = open_store(str(tmp_path), StorageConfig())

    def create_and_delete(worker: int) -> bool:
        made = True
        for _ in range(100):
            made &= store.create(f"state/0/w/{worker}", b"x")
            store.delete([f"state/0/w/{worker}"])
        return made

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(create_and_delete, range(8)))


def test_check_create_only_passes_and_leaves_nothing(store: Store) -> None:
    check_create_only(store)
    assert list(store.list("")) == []


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreError, match="^nonsense://bucket/x: "):
        open_store("nonsense://bucket/x", StorageConfig())


def test_a_local_root_is_made_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such directory"):
        open_store(str(tmp_path / "a" / "b"), StorageConfig(), make=False)
    assert not (tmp_path / "a").exists()
    store = open_store(str(tmp_path / "a" / "b"), StorageConfig())
    assert (tmp_path / "a" / "b").is_dir()
    assert store.name == "b"
    assert store.locate("x/y") == str(tmp_path / "a" / "b" / "x" / "y")


@pytest.mark.parametrize("make", [True, False])
def test_a_root_that_is_a_file_is_told_from_none(tmp_path: Path, make: bool) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"/file: is a file, not a directory; correct the path"):
        open_store(str(tmp_path / "file"), StorageConfig(), make=make)
    with pytest.raises(StoreError, match=r"can't make this directory|no such directory"):
        open_store(str(tmp_path / ("a" * 300)), StorageConfig(), make=make)


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="can't make this directory: Not a directory"):
        open_store(str(tmp_path / "file" / "run"), StorageConfig())


def test_a_local_store_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    (tmp_path / "results").write_text("a file where a directory should be")
    for action in (lambda: store.create("results/a", b""), lambda: store.put("results/a", b"")):
        with pytest.raises(StoreError, match="results/a: (File exists|Not a directory)"):
            action()


@pytest.mark.parametrize("publish", [os.link, os.replace])
def test_what_a_clean_up_takes_while_it_is_written_is_written_again(
    tmp_path: Path, publish: Callable[[str, str], None]
) -> None:
    taken: list[str] = []

    def publish_late(temporary: str, path: str) -> None:
        if len(taken) < 2:
            taken.extend(delete_temporaries(tmp_path, folders=False))
        publish(temporary, path)

    assert write_file(tmp_path / "made", b"whole", publish_late)
    assert len(taken) == 2 and [file.name for file in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made").read_bytes() == b"whole"
    if publish is os.link:
        taken.clear()
        assert not write_file(tmp_path / "made", b"another", publish_late), "the first one stands"


def test_local_writes_leave_no_temporary_files(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    store.create("a/x", b"1")
    store.create("a/x", b"2")
    store.put("a/x", b"3")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


KILLED = """
import os, sys
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import objects
store = objects.open_store(sys.argv[1], StorageConfig())

def stop_before_it_is_published(_):
    print("written", flush=True)
    sys.stdin.read()

os.fsync = stop_before_it_is_published
getattr(store, sys.argv[2])("results/part-00000.parquet", b"x" * 1_000_000)
"""


@pytest.mark.parametrize("write", ["create", "put"])
def test_a_local_write_killed_half_way_leaves_nothing_to_see(tmp_path: Path, write: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), write], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    store = open_store(str(tmp_path), StorageConfig())
    assert list(store.list("results")) == []
    assert store.get("results/part-00000.parquet") is None
    assert list((tmp_path / "results").glob("*.parquet")) == []
    assert store.create("results/part-00000.parquet", b"whole")
    assert list(store.list("results")) == [Entry("results/part-00000.parquet", 5)]


LIMITED = """
import resource, signal, sys
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = open_store(sys.argv[1], StorageConfig())
assert store.create("small", bytes(500))
try:
    store.create("large", bytes(5000))
except StoreError as error:
    print(error)
print([entry.key for entry in store.list("")])
"""


def test_a_disk_that_takes_no_more_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    said, left = done.stdout.splitlines()
    assert said.startswith(
        f"{tmp_path}/large: a file is larger than this disk or a limit (`ulimit -f`) admits"
    )
    assert left == "['small']", "and nothing half-written"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; make room there, then run the same command again, which goes on"),
        (errno.EDQUOT, "the quota of this disk is used up"),
        (errno.EROFS, "this disk is read-only"),
        (errno.EMFILE, "too many open files; raise the limit (`ulimit -n`)"),
    ],
)
def test_faults_of_a_disk_come_with_advice(number: int, words: str) -> None:
    error = OSError(number, os.strerror(number))
    assert explain_store_error(error).startswith(words)
    assert explain_store_error(error).endswith(f"({os.strerror(number)})")
