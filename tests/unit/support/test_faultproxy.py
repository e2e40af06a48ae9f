from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.servers.fault_proxy import FaultProxy, Rule, fault_proxy
from tests.support.servers.s3 import S3Server

BODY = b"0123456789" * 100
Seen = list[tuple[str, str, str | None, bytes]]


class Upstream(ThreadingHTTPServer):
    """Answers everything with `BODY`, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: Seen = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.seen.append((self.command, self.path, self.headers["Host"], body))
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(BODY)

    do_PUT = do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with fault_proxy(f"http://127.0.0.1:{upstream.server_port}") as running:
        yield running


@contextmanager
def connection(proxy: FaultProxy, timeout: float = 10) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection(str(urlsplit(proxy.endpoint).netloc), timeout=timeout)
    try:
        yield client
    finally:
        client.close()


def ask(proxy: FaultProxy, method: str = "GET", path: str = "/b/k", body: bytes = b"", **more: Any) -> Any:
    """(status, headers, body) of one request."""
    with connection(proxy, **more) as client:
        client.request(method, path, body, {"Host": "the.host:1"})
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read()


def test_without_rules_a_request_passes_as_it_is(proxy: FaultProxy, upstream: Upstream) -> None:
    path = "/b/a%20b%2Fc?list-type=2&prefix=x%2F"
    status, headers, body = ask(proxy, "PUT", path, b"\0data" * 1000)
    assert (status, headers["ETag"], body) == (200, '"x"', BODY)
    assert upstream.seen == [("PUT", path, "the.host:1", b"\0data" * 1000)]


def test_a_connection_serves_many_requests(proxy: FaultProxy) -> None:
    with connection(proxy) as client:
        for method in ("GET", "HEAD", "PUT", "GET"):
            client.request(method, "/k", headers={"Expect": "100-continue"} if method == "PUT" else {})
            answer = client.getresponse()
            assert answer.headers["Content-Length"] == "1000"
            assert answer.read() == (b"" if method == "HEAD" else BODY)
    assert proxy.requests == {"GET": 2, "HEAD": 1, "PUT": 1}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("slow_down", 503, b"<Code>SlowDown</Code>"),
        ("unavailable", 503, b"<html>"),
        ("denied", 403, b"<Code>AccessDenied</Code>"),
        ("expired", 400, b"<Code>ExpiredToken</Code>"),
        ("invalid_key", 403, b"<Code>InvalidAccessKeyId</Code>"),
        ("full", 507, b"<Code>XMinioStorageFull</Code>"),
        ("quota", 403, b"<Code>QuotaExceeded</Code>"),
    ],
)
def test_a_refused_request_never_reaches_the_server(
    proxy: FaultProxy, upstream: Upstream, fault: Any, status: int, code: bytes
) -> None:
    rule = proxy.add(fault)
    found, _, body = ask(proxy, "PUT", body=b"x")
    assert found == status and code in body
    assert ask(proxy, "HEAD")[2] == b""
    assert upstream.seen == [] and rule.count == 2


@pytest.mark.parametrize(("fault", "reached"), [("reset", False), ("lose", True)])
def test_a_reset_takes_the_answer_and_tells_not_whether_it_was_done(
    proxy: FaultProxy, upstream: Upstream, fault: Any, reached: bool
) -> None:
    rule = proxy.add(fault)
    with pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", body=b"x")
    assert bool(upstream.seen) is reached
    assert rule.statuses == ([200] if reached else []) and rule.done.is_set() is reached


def test_a_body_that_is_reset_and_one_that_is_cut(proxy: FaultProxy) -> None:
    proxy.add("reset_body", times=1)
    with pytest.raises(ConnectionResetError):
        ask(proxy)
    proxy.add("cut_body", times=1)
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(proxy)
    assert error.value.partial == BODY[:500]


def test_a_held_request_reaches_the_server_when_it_is_released(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.add("hold")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, proxy)
        assert rule.held.wait(5)
        time.sleep(0.05)
        assert upstream.seen == [] and not future.done()
        rule.release.set()
        assert future.result(5)[0] == 200
    assert len(upstream.seen) == 1


def test_a_held_request_goes_on_without_its_sender(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.add("hold")
    with pytest.raises(TimeoutError):
        ask(proxy, timeout=0.2)
    rule.release.set()
    assert rule.done.wait(5) and rule.statuses == [200] and len(upstream.seen) == 1


def test_a_held_answer_is_of_a_request_that_was_carried_out(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.add("hold_answer")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, proxy)
        assert rule.held.wait(5) and len(upstream.seen) == 1
        time.sleep(0.05)
        assert not future.done()
        rule.release.set()
        assert future.result(5)[2] == BODY


def test_what_hangs_is_never_carried_out(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.add("hang")
    with pytest.raises(TimeoutError):
        ask(proxy, timeout=0.2)
    assert rule.held.is_set()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, proxy)
        rule.release.set()
        with pytest.raises(ConnectionResetError):
            future.result(5)
    assert upstream.seen == []


def test_a_delayed_answer_comes(proxy: FaultProxy) -> None:
    proxy.add("delay", seconds=0.2)
    started = time.monotonic()
    assert ask(proxy)[2] == BODY
    assert time.monotonic() - started >= 0.2


def test_rules_choose_by_method_and_path_and_the_first_happens(proxy: FaultProxy) -> None:
    puts = proxy.add("denied", "PUT", r"/results/part-\d+$")
    spaced = proxy.add("quota", path="a b\\?x=/")
    anything = proxy.add("slow_down", "PUT")
    statuses = [
        ask(proxy, *request)[0]
        for request in (("PUT", "/b/results/part-1"), ("GET", "/b/results/part-1"), ("PUT", "/b/results/x"))
    ]
    assert statuses == [403, 200, 503]
    assert ask(proxy, "GET", "/a%20b?x=%2F")[0] == 403
    assert (puts.count, spaced.count, anything.count) == (1, 1, 1)
    proxy.remove(puts)
    assert ask(proxy, "PUT", "/b/results/part-1")[0] == 503
    proxy.clear()
    assert ask(proxy, "PUT", "/b/results/part-1")[0] == 200


def test_rules_happen_so_often_and_after_so_many() -> None:
    rule = Rule("reset", after=2, times=3)
    assert [rule.strikes("GET", "/") for _ in range(7)] == [False, False, True, True, True, False, False]
    assert rule.count == 3


def test_chance_is_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> list[bool]:
        rule = Rule("reset", probability=0.3, seed=seed)
        return [rule.strikes("GET", "/") for _ in range(1000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 250 < sum(drawn(1)) < 350


def test_a_proxy_that_is_down_refuses_and_comes_back_where_it_was(proxy: FaultProxy) -> None:
    rule = proxy.add("hold", times=1)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, proxy)
        assert rule.held.wait(5)
        proxy.down()
        with pytest.raises(ConnectionResetError):
            future.result(5)
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)
    proxy.up()
    assert ask(proxy)[0] == 200


def test_the_end_waits_for_nobody(upstream: Upstream) -> None:
    with ThreadPoolExecutor(1) as pool:
        with fault_proxy(f"http://127.0.0.1:{upstream.server_port}") as proxy:
            rule = proxy.add("hold")
            future = pool.submit(ask, proxy)
            assert rule.held.wait(5)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        with pytest.raises(ConnectionResetError):
            future.result(5)
    assert upstream.seen == []
    assert not [thread for thread in threading.enumerate() if thread.name == "fault-proxy"]


@pytest.mark.s3
def test_the_real_server_checks_signatures_and_create_only_puts_through_it(s3: S3Server) -> None:
    def client(endpoint: str, secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=secret,
        )

    with fault_proxy(s3.endpoint) as proxy:
        good = client(proxy.endpoint, s3.secret_key)
        key = {"Bucket": s3.bucket, "Key": "proxy/a b%+é"}
        good.put_object(**key, Body=b"first", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            good.put_object(**key, Body=b"second", IfNoneMatch="*")
        assert good.get_object(**key)["Body"].read() == b"first"
        assert [o["Key"] for o in good.list_objects_v2(Bucket=s3.bucket, Prefix="proxy/")["Contents"]] == [
            "proxy/a b%+é"
        ]
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client(proxy.endpoint, "wrong").get_object(**key)
        with pytest.raises(ClientError, match="NoSuchKey"):
            good.get_object(Bucket=s3.bucket, Key="proxy/none")
        good.close()
