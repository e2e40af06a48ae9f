from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.check import check_create_only
from mira_batch.storage.stores.objects import Entry, Store, open_store
from tests.support.servers.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers.odd_s3 import OddS3, odd_s3
from tests.support.servers.s3 import S3Server, free_port

Environment = Callable[[dict[str, str]], None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    def set_all(values: dict[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


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


@pytest.fixture
def odd(environment: Environment) -> Iterator[OddS3]:
    environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    with odd_s3(OddS3()) as server:
        yield server


def store_on(server: OddS3) -> Store:
    config = StorageConfig(endpoint_url=server.endpoint, retry_seconds=5, timeout_seconds=5)
    return open_store("s3://bucket/run", config)


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


def test_check_create_only_refuses_a_store_that_ignores_if_none_match(odd: OddS3) -> None:
    odd.create_only = False
    with pytest.raises(StoreError, match="16 of 16 racing creates .* ignores If-None-Match"):
        check_create_only(store_on(odd))
    assert odd.objects == {}


def test_check_create_only_accepts_the_same_server_when_it_honours_it(odd: OddS3) -> None:
    check_create_only(store_on(odd))
    assert odd.objects == {}


def test_a_create_whose_answer_is_lost_is_known_by_its_bytes(odd: OddS3) -> None:
    odd.faults = ["lose"]
    assert store_on(odd).create("part", b"ours")
    assert odd.puts == 2
    assert store_on(odd).get("part") == b"ours"
    assert not store_on(odd).create("part", b"theirs")


def do_everything(store: Store) -> None:
    assert store.create("d/a", b"ours")
    assert not store.create("d/a", b"theirs")
    store.put("d/b", b"second")
    assert store.exists("d/a") and not store.exists("d/c")
    assert store.get("d/a") == b"ours" and store.get("d/c") is None
    assert {entry.key for entry in store.list("")} == {"d/a", "d/b"}
    assert store.list_folders() == ["d"]
    store.delete(["d/a", "d/b", "d/c"])
    assert list(store.list("")) == []


@pytest.fixture
def proxied(s3: S3Server, environment: Environment) -> Iterator[FaultProxy]:
    environment(s3.environment)
    with fault_proxy(s3.endpoint) as proxy:
        yield proxy


def store_behind(proxy: FaultProxy, name: str, **config: float) -> Store:
    return open_store(f"s3://catalogue/{name}", StorageConfig(endpoint_url=proxy.endpoint, **config))


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["reset", "lose", "reset_body", "cut_body"])
def test_every_call_is_made_again_when_its_connection_breaks_off(proxied: FaultProxy, fault: Any) -> None:
    store = store_behind(proxied, f"breaks/{fault}", retry_seconds=20)
    rules = [proxied.add(fault, method, times=2) for method in ("PUT", "HEAD", "POST")]
    rules += [proxied.add(fault, "GET", path, times=2) for path in ("/d/a", "delimiter=", "prefix=")]
    do_everything(store)
    assert [rule.count for rule in rules] == [2] * 6


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["hang", "hold_answer"])
def test_every_call_is_made_again_when_its_answer_does_not_come(proxied: FaultProxy, fault: Any) -> None:
    store = store_behind(proxied, f"hangs/{fault}", retry_seconds=20, timeout_seconds=0.3)
    rules = [proxied.add(fault, method, times=1) for method in ("PUT", "HEAD", "POST", "GET")]
    do_everything(store)
    assert [rule.count for rule in rules] == [1] * 4


@pytest.mark.s3
def test_a_store_that_is_busy_for_seconds_is_tried_for_as_long_as_is_set(proxied: FaultProxy) -> None:
    store = store_behind(proxied, "busy", retry_seconds=20)
    rule = proxied.add("slow_down")
    timer = threading.Timer(4, proxied.clear)
    timer.start()
    assert store.create("a", b"ours")
    timer.join()
    # With jitter, 8 to 20 here; without back-off it would be thousands in four seconds.
    assert rule.count < 100, "it is asked ever less often"


@pytest.mark.s3
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("slow_down", "the store is busy or failing; run the same command again when it is back"),
        ("unavailable", "the store is busy or failing; run the same command again when it is back"),
        ("full", "the store is full; make room or raise its quota, then run the same command again"),
        ("quota", "the store is full; make room or raise its quota, then run the same command again"),
        ("expired", "the store refused the credentials; check AWS_ACCESS_KEY_ID"),
        ("invalid_key", "the store refused the credentials; check AWS_ACCESS_KEY_ID"),
        ("denied", "the store refused the credentials; check AWS_ACCESS_KEY_ID"),
        ("reset", "the store can't be reached; check storage.endpoint_url"),
    ],
)
def test_what_the_store_refuses_for_good_says_what_to_do(
    proxied: FaultProxy, fault: Any, message: str
) -> None:
    store = store_behind(proxied, "refused", retry_seconds=0.2)
    proxied.add(fault)
    actions: list[Callable[[], object]] = [
        lambda: store.create("a", b""),
        lambda: store.get("a"),
        lambda: list(store.list("")),
    ]
    for action in actions:
        with pytest.raises(StoreError) as error:
            action()
        assert_one_line(error.value, "s3://catalogue/refused/")
        assert message in str(error.value)


@pytest.mark.parametrize("fault", ["busy", "conflict"])
def test_a_store_that_refuses_for_a_moment_is_tried_again(odd: OddS3, fault: str) -> None:
    odd.faults = [fault, fault]
    assert store_on(odd).create("part", b"ours")
    assert store_on(odd).get("part") == b"ours"


def test_a_conflict_over_an_object_that_stands_is_a_lost_race(odd: OddS3) -> None:
    store = store_on(odd)
    store.create("part", b"theirs")
    odd.faults = ["conflict"]
    assert not store.create("part", b"ours")
    assert store.get("part") == b"theirs"


def test_a_store_that_never_stops_to_conflict_is_an_error(odd: OddS3) -> None:
    odd.faults = ["conflict"] * 100
    with pytest.raises(StoreError, match="s3://bucket/run/part: .* in conflict"):
        store_on(odd).create("part", b"ours")


def test_a_denied_put_says_what_to_check(odd: OddS3) -> None:
    odd.faults = ["denied"]
    with pytest.raises(StoreError) as error:
        store_on(odd).create("part", b"ours")
    assert_one_line(error.value, "s3://bucket/run/part: the store refused the credentials")


def assert_one_line(error: StoreError, start: str) -> None:
    text = str(error)
    assert text.startswith(start)
    assert "\n" not in text and len(text) < 600


@pytest.mark.s3
def test_the_answer_to_a_refused_head_names_no_code_and_is_understood(proxied: FaultProxy) -> None:
    proxied.add("expired")
    with pytest.raises(StoreError, match="the store refused the credentials; check AWS_ACCESS_KEY_ID"):
        store_behind(proxied, "refused").exists("a")


@pytest.mark.s3
def test_a_wrong_secret_says_what_to_check(s3: S3Server, environment: Environment) -> None:
    environment(s3.environment | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"})
    store = open_store(f"s3://{s3.bucket}/x", StorageConfig(endpoint_url=s3.endpoint))
    actions: list[Callable[[], object]] = [
        lambda: store.create("a", b""),
        lambda: store.put("a", b""),
        lambda: store.get("a"),
        lambda: list(store.list("")),
        lambda: store.delete(["a"]),
        store.list_folders,
        lambda: check_create_only(store),
    ]
    for action in actions:
        with pytest.raises(StoreError, match="refused the credentials; check AWS_ACCESS_KEY_ID") as error:
            action()
        assert_one_line(error.value, f"s3://{s3.bucket}/x/")
        assert "not-the-secret" not in str(error.value)


@pytest.mark.s3
def test_a_missing_bucket_is_named(s3: S3Server, environment: Environment) -> None:
    environment(s3.environment)
    store = open_store("s3://no-such-bucket/x", StorageConfig(endpoint_url=s3.endpoint))
    for action in (lambda: store.create("a", b""), lambda: check_create_only(store)):
        with pytest.raises(StoreError, match="the bucket does not exist; create it or correct") as error:
            action()
        assert_one_line(error.value, "s3://no-such-bucket/x/")


def test_a_dead_endpoint_is_named(environment: Environment) -> None:
    environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    config = StorageConfig(
        endpoint_url=f"http://127.0.0.1:{free_port()}", timeout_seconds=1, retry_seconds=0.2
    )
    store = open_store("s3://bucket/x", config)
    for action in (lambda: store.get("a"), lambda: check_create_only(store)):
        with pytest.raises(StoreError, match="can't be reached; check storage.endpoint_url") as error:
            action()
        assert_one_line(error.value, "s3://bucket/x/")


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
