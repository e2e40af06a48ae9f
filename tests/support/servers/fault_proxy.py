"""A proxy with faults on purpose, in front of a real S3 server (tests/support/servers/s3.py).

Clients take the proxy for the store. Requests pass byte for byte, the Host header too, which the
signature covers: the real server checks credentials and create-only puts as ever. A `Rule` names the
requests that go wrong and how. Rules may be added and taken away while a run is on.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Fault = Literal[
    "slow_down",  # 503, as a store that is busy says it
    "unavailable",  # 503, as a load balancer says it, in no S3 words
    "denied",  # 403: no right to do this
    "expired",  # 400, which is what AWS answers to a token that has run out
    "invalid_key",  # 403: no such access key (any more)
    "full",  # 507, as MinIO says it
    "quota",  # 403, as Ceph says it
    "reset",  # the connection is reset in place of an answer; the server never sees the request
    "lose",  # the same, but the server has carried the request out
    "reset_body",  # reset in the middle of the answer's body
    "cut_body",  # the connection ends there in good order: Content-Length promised more
    "short",  # half of the body, and a Content-Length that fits it
    "zeroed",  # the same length, the second half of it zeroes
    "hang",  # nothing happens until `release`, and then a reset
    "delay",  # the answer comes `seconds` late
    "hold",  # waits for `release` before the server sees the request
    "hold_answer",  # waits for `release` after the server has carried it out
]
_REFUSALS: dict[str, tuple[str, str]] = {
    "slow_down": ("503 Slow Down", "SlowDown"),
    "unavailable": ("503 Service Unavailable", ""),
    "denied": ("403 Forbidden", "AccessDenied"),
    "expired": ("400 Bad Request", "ExpiredToken"),
    "invalid_key": ("403 Forbidden", "InvalidAccessKeyId"),
    "full": ("507 Insufficient Storage", "XMinioStorageFull"),
    "quota": ("403 Forbidden", "QuotaExceeded"),
}
_LIMIT = 1 << 20
"""Bytes of a head at most."""


@dataclass(eq=False)
class Rule:
    """Which requests go wrong, and how."""

    fault: Fault
    method: str = "*"
    """GET, PUT and so on; * is any."""
    path: str = ""
    """Regex, searched in `/bucket/key?query`, unquoted."""
    after: int = 0
    """So many requests that match are let through first."""
    times: int | None = None
    """Only so many requests; None is all."""
    each: int | None = None  # the same, of each target
    probability: float = 1.0
    """Of each request that matches; drawn by `seed`."""
    seconds: float = 0.0
    """How late `delay` answers."""
    seed: int = 0
    count: int = 0
    """Requests that went wrong by this rule."""
    held: threading.Event = field(default_factory=threading.Event)
    """Set once a request hangs or is held."""
    release: threading.Event = field(default_factory=threading.Event)
    """Set it to let those go on."""
    done: threading.Event = field(default_factory=threading.Event)
    """Set once the server has carried out such a request."""
    statuses: list[int] = field(default_factory=list)
    """What the server answered to such requests, whatever the client saw."""

    def __post_init__(self) -> None:
        self._draw, self._targets = random.Random(self.seed), Counter[str]()

    def strikes(self, method: str, target: str) -> bool:
        """Whether this request goes wrong by this rule; then it is counted."""
        if self.method not in ("*", method) or not re.search(self.path, target):
            return False
        self.after -= 1
        if self.after >= 0 or (self.times is not None and self.count >= self.times):
            return False
        if self._draw.random() >= self.probability:
            return False
        self._targets[target] += 1
        if self.each and self._targets[target] > self.each:
            return False
        self.count += 1
        return True


@dataclass(frozen=True)
class _Message:
    """A request or an answer, read whole."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def head(self, without: tuple[str, ...]) -> bytes:
        kept = (f"{name}: {value}" for name, value in self.headers if name.lower() not in without)
        return "\r\n".join([self.start, *kept, "", ""]).encode("latin-1")


class FaultProxy:
    """A running proxy; see `fault_proxy`. Everything public may be called from any thread."""

    def __init__(self, upstream: str, loop: asyncio.AbstractEventLoop) -> None:
        parts = urlsplit(upstream)
        self.requests: Counter[str] = Counter()
        """Requests by method, those that went wrong among them."""
        self._to = parts.hostname, parts.port
        self._loop = loop
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._forwarding = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def add(self, fault: Fault, method: str = "*", path: str = "", **more: Any) -> Rule:
        """From now on this goes wrong. Of several rules that match, the one added first happens."""
        rule = Rule(fault, method, path, **more)
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, *rules: Rule) -> None:
        """Take rules away; requests they hold stay held."""
        with self._lock:
            self._rules = [rule for rule in self._rules if rule not in rules]

    def clear(self) -> None:
        """Take every rule away."""
        with self._lock:
            self._rules = []

    def down(self) -> None:
        """Refuse connections and reset those that are open, as a server that died."""
        self._call(self._down())

    def up(self) -> None:
        """Listen again, where it listened before."""
        self._call(self._up())

    def settle(self) -> None:
        """Wait until the server has carried out what it was sent; clients may have died meanwhile."""
        quiet = 0
        while quiet < 10:
            quiet = 0 if self._forwarding else quiet + 1
            time.sleep(0.01)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=_LIMIT)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        assert self._server is not None
        self._server.close()
        open_ones = list(self._connections)
        for writer in self._connections.values():
            _reset(writer)
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after the other, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            # Clients that leave, or that a rule cuts off, are what this is for.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            del self._connections[task]
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. False: the connection is over."""
        request = await _request(reader, writer)
        method, target, _ = request.start.split(" ", 2)
        with self._lock:
            self.requests[method] += 1
            rule = next((rule for rule in self._rules if rule.strikes(method, unquote(target))), None)
        if rule is None:
            return await _send(writer, await self._forward(request, method))
        if rule.fault in _REFUSALS:
            writer.write(_refusal(rule.fault, method))
            await writer.drain()
            return True
        if rule.fault in ("hang", "hold"):
            await _wait(rule)
        if rule.fault in ("reset", "hang"):
            return _reset(writer)
        answer = await self._forward(request, method)
        rule.statuses.append(int(answer.start.split()[1]))
        rule.done.set()
        if rule.fault == "hold_answer":
            await _wait(rule)
        if rule.fault == "delay":
            await asyncio.sleep(rule.seconds)
        if rule.fault == "lose":
            return _reset(writer)
        if rule.fault in ("reset_body", "cut_body"):
            await _send(writer, replace(answer, body=answer.body[: len(answer.body) // 2]))
            await asyncio.sleep(0.02)  # let it arrive: a reset may throw away what is on its way
            return _reset(writer) if rule.fault == "reset_body" else False
        if rule.fault in ("short", "zeroed"):
            whole, body = len(answer.body), answer.body[: len(answer.body) // 2]
            body = body.ljust(whole if rule.fault == "zeroed" else 0, b"\0")
            answer = replace(_set_length(answer, len(body)), body=body)
        return await _send(writer, answer)

    async def _forward(self, request: _Message, method: str) -> _Message:
        """The real server's answer, over a connection of its own, in HTTP/1.0: whole and not in chunks."""
        self._forwarding += 1
        try:
            reader, writer = await asyncio.open_connection(*self._to, limit=_LIMIT)
            with closing(writer):
                asked = replace(request, start=request.start.removesuffix("1.1") + "1.0")
                writer.write(asked.head(without=("connection", "expect")) + request.body)
                return await _answer(reader, method)
        finally:
            self._forwarding -= 1


async def _head(reader: asyncio.StreamReader) -> _Message:
    """A message up to its body."""
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    parts = (line.partition(":") for line in lines)
    return _Message(start, [(name, value.strip()) for name, _, value in parts], b"")


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message:
    """A client's request, whole."""
    request = await _head(reader)
    if request.get("transfer-encoding"):
        raise ValueError(f"a request without its length can't be passed on: {request}")
    if request.get("expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return replace(request, body=await reader.readexactly(int(request.get("content-length") or 0)))


async def _answer(reader: asyncio.StreamReader, method: str) -> _Message:
    """The server's answer: it ends where the connection does."""
    answer = await _head(reader)
    body = await reader.read()
    if method == "HEAD":
        return answer
    return replace(_set_length(answer, len(body)), body=body)


def _set_length(answer: _Message, length: int) -> _Message:
    kept = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    return replace(answer, headers=[*kept, ("Content-Length", str(length))])


async def _send(writer: asyncio.StreamWriter, answer: _Message) -> Literal[True]:
    writer.write(answer.head(without=("connection", "transfer-encoding")) + answer.body)
    await writer.drain()
    return True


def _refusal(fault: str, method: str) -> bytes:
    status, code = _REFUSALS[fault]
    words = f"<Code>{code}</Code><Message>{status[4:]}</Message><RequestId>0</RequestId>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{words}</Error>' if code else "<html></html>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + ("" if method == "HEAD" else body)).encode()


async def _wait(rule: Rule) -> None:
    rule.held.set()
    while not rule.release.is_set():
        await asyncio.sleep(0.01)


def _reset(writer: asyncio.StreamWriter) -> Literal[False]:
    """End a connection by a reset, not in good order."""
    raw = writer.get_extra_info("socket")
    with suppress(OSError):  # it may be closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in a thread of its own in front of `upstream` (http://host:port).

    Requests still held at the end are dropped: the server never sees those that `hold` holds.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fault-proxy", daemon=True)
    thread.start()
    proxy = FaultProxy(upstream, loop)
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.down()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
