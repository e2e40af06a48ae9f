"""Stores of objects on S3: what is tried again, and what is said of what stays refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores import faults, objects
from mira_batch.storage.stores.check import check_create_only
from mira_batch.storage.stores.credentials import Identity
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.servers.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers.odd_s3 import OddS3, odd_s3
from tests.support.servers.s3 import S3Server, free_port
from tests.unit.storage.stores.environments import Environment


@pytest.fixture
def odd(environment: Environment) -> Iterator[OddS3]:
    environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    with odd_s3(OddS3()) as server:
        yield server


@pytest.fixture
def proxied(s3: S3Server, environment: Environment) -> Iterator[FaultProxy]:
    environment(s3.environment)
    with fault_proxy(s3.endpoint) as proxy:
        yield proxy


def store_on(server: OddS3) -> Store:
    config = StorageConfig(endpoint_url=server.endpoint, retry_seconds=5, timeout_seconds=5)
    return open_store("s3://bucket/run", config)


def store_behind(proxy: FaultProxy, name: str, **config: float) -> Store:
    return open_store(f"s3://catalogue/{name}", StorageConfig(endpoint_url=proxy.endpoint, **config))


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


def assert_one_line(error: StoreError, start: str) -> None:
    text = str(error)
    assert text.startswith(start)
    assert "\n" not in text and len(text) < 600


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


@pytest.mark.parametrize(("fault", "region"), [("region", "eu-west-2"), ("redirect", "its own")])
def test_a_bucket_of_another_region_says_what_to_set(odd: OddS3, fault: str, region: str) -> None:
    odd.faults = [fault]
    with pytest.raises(StoreError) as error:
        store_on(odd).create("part", b"ours")
    assert_one_line(error.value, "s3://bucket/run/part: the bucket is in another region; set AWS_REGION ")
    assert f" or storage.region to {region} (" in str(error.value)


def test_whoever_set_no_credentials_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    store = open_store("s3://bucket/x", StorageConfig(timeout_seconds=1, retry_seconds=0.2))
    for action in (lambda: store.get("a"), lambda: check_create_only(store)):
        with pytest.raises(StoreError, match="no credentials are set, .*; set AWS_ACCESS_KEY_ID") as error:
            action()
        assert_one_line(error.value, "s3://bucket/x/")


@pytest.mark.s3
def test_whoever_set_no_credentials_waits_for_none(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(objects, "IDENTITY", Identity())  # as of a process that has just begun
    monkeypatch.setattr(faults, "_UNPROVEN", 1.0)
    config = StorageConfig(endpoint_url=s3.endpoint, retry_seconds=30)
    began = time.monotonic()
    with pytest.raises(StoreError, match="no credentials are set, .*; set AWS_ACCESS_KEY_ID"):
        list(open_store(f"s3://{s3.bucket}/none", config).list(""))
    assert time.monotonic() - began < 10


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
