"""What the object store costs a run at 1 s per edit, against a real S3 server on a loopback socket.

A proxy in front of it counts requests and bytes by kind of object and notes when each request was open. Its
own time and the server's, which is a slow one in Python, are part of what is measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from benchmarks.child import side_by_side
from benchmarks.efficiency import timed_models
from benchmarks.figure import Bench, Figure, at_most, in_table, reported
from benchmarks.timeline import Timeline, read_timeline
from benchmarks.workload import config, manifest, records_with
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.s3 import s3_server

SIDE, SECONDS, BATCH = 1024, 1.0, 4
TABLE = "The object store at 1 s per edit"
_KINDS = {
    "step log": r"/state/",
    "commit": r"/results\b",
    "shard read": r"/plan/",
    "image fetch": r"/images/",
    "manifest": r"/manifest\.jsonl",
}
"""By what is in the address; anything else is the run's own: lease, run.json, models.json, receipts."""
RUN = "lease and notes of the run"


@dataclass(frozen=True)
class Request:
    kind: str
    begin: float
    end: float
    up: int
    """Bytes of the request's body."""
    down: int
    """Bytes of the answer's."""


@dataclass(frozen=True)
class _Found:
    requests: tuple[Request, ...]
    line: Timeline
    without: Timeline
    """The same run without step log, its results on the local disk."""

    @property
    def records(self) -> int:
        return self.line.records

    @property
    def wall(self) -> float:
        return self.line.last_commit - self.line.first_edit


@contextmanager
def counting_proxy(upstream: str) -> Iterator[tuple[str, list[Request]]]:
    """The endpoint of a proxy in front of the server, and what passes through it.

    It is the tests' fault proxy without a fault, noting what it forwards.
    """
    seen: list[Request] = []
    with fault_proxy(upstream) as proxy:
        forward: Any = proxy._forward

        async def noted(request: Any, method: str) -> Any:
            begin = time.time()
            answer = await forward(request, method)
            target = unquote(request.start.split(" ")[1])
            # Many are deleted by one request, whose body names them.
            named = target if method != "POST" else request.body.decode("utf-8", "replace")
            seen.append(Request(kind_of(named), begin, time.time(), len(request.body), len(answer.body)))
            return answer

        proxy._forward = noted
        yield proxy.endpoint, seen


def kind_of(target: str) -> str:
    """What a request is for, by the path or the prefix in its address."""
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, target)), RUN)


@cache
def _found(bench: Bench) -> _Found:
    folder = bench.folder / "store"
    names = records_with(edits=bench.size(120, 24))
    manifest(folder / "catalogue", SIDE, names)
    (folder / "server").mkdir()
    with s3_server(folder / "server") as server, counting_proxy(server.endpoint) as (endpoint, seen):
        server.upload(folder / "catalogue", "catalogue")

        def job(name: str, output: str, endpoint: str) -> dict[str, Any]:
            settings = config(
                f"s3://{server.bucket}/catalogue/manifest.jsonl",
                output,
                backend="inline",
                storage={"endpoint_url": endpoint},
                **timed_models(folder / name, SECONDS),
            )
            return {"variables": server.environment, "config": settings, "step_state": name == "with"}

        found = side_by_side(
            "run",
            job("with", f"s3://{server.bucket}/out", endpoint),
            job("without", str(folder / "out"), server.endpoint),
        )
    lines = [
        read_timeline(folder / name, run, 1, BATCH, SECONDS)
        for name, run in zip(("with", "without"), found, strict=True)
    ]
    return _Found(tuple(seen), *lines)


def log_and_commit(bench: Bench) -> Figure:
    found = _found(bench)
    line, ours, other = found.line, found.line.steady(), found.without.steady()
    return at_most(
        0.01,
        "store_log_and_commit_share_of_wall",
        ours.io - other.io,
        "",
        f"One worker inline over {line.records} {SIDE}² photographs and {line.made} edits, {SECONDS:g} s a "
        f"call of {BATCH}; manifest, images, step log and results on a real S3 server. Share of the steady "
        f"state in which the editor had no call although the policy had none either, {ours.io:.2%}, less "
        f"that of the same run, at the same time in another process, with results on the local disk and a "
        f"step log that keeps nothing, {other.io:.2%}. Whole walls can't be compared so closely: which "
        "records share a batch moves them by more.",
    )


def tail(bench: Bench) -> Figure:
    found = _found(bench)
    with_it, without = (
        (shares.io + shares.tail) * (line.ended - line.started)
        for line in (found.line, found.without)
        for shares in (line.shares(),)
    )
    return reported(
        "store_log_and_commit_seconds_with_tail",
        with_it - without,
        "s",
        f"The same in seconds from the first editor call to the last commit ({found.wall:.1f} s): when few "
        "records are left, nothing hides the log of a step from the next. A long run has no more of that.",
    )


def requests_per_record(bench: Bench) -> Figure:
    found = _found(bench)
    return reported(
        "store_requests_per_record",
        len(found.requests) / found.records,
        "",
        f"All requests of the same run, plan included, ÷ {found.records} records, as a proxy in front of "
        "the server counts them. So small a run has small shards, and more requests than a large one.",
    )


def bytes_per_record(bench: Bench) -> Figure:
    found = _found(bench)
    moved = sum(request.up + request.down for request in found.requests)
    return reported(
        "store_mb_per_record",
        moved / 1e6 / found.records,
        "MB",
        f"Bodies of these requests and of their answers; {found.line.made / found.records:.2f} edits a "
        "record, each in the step log and again in the result file.",
    )


def by_kind(bench: Bench) -> list[Figure]:
    found = _found(bench)
    how = f"The run of `store_log_and_commit_share_of_wall`, {found.records} records"
    figures = []
    for kind in (*_KINDS, RUN):
        these = [request for request in found.requests if request.kind == kind]
        name = kind.split()[0] if kind == RUN else kind.replace(" ", "_")
        figures += [
            in_table(reported(f"store_{what}_{name}", value, unit, f"{words}. {how}."), TABLE, kind, column)
            for what, column, value, unit, words in _columns(these, found)
        ]
    return figures


def _columns(these: list[Request], found: _Found) -> list[tuple[str, str, float, str, str]]:
    """Name, column, value, unit and explanation of each figure on one kind of request."""
    records = found.records
    up, down = (sum(getattr(r, way) for r in these) / 1e3 / records for way in ("up", "down"))
    took = sum(r.end - r.begin for r in these)
    begin, end = found.line.first_edit, found.line.last_commit
    share = covered([(max(r.begin, begin), min(r.end, end)) for r in these]) / found.wall
    return [
        ("requests", "requests per record", len(these) / records, "", "Requests ÷ records, plan included"),
        ("kb_up", "up per record", up, "kB", "Bytes of their bodies ÷ records"),
        ("kb_down", "down per record", down, "kB", "Bytes of the answers' bodies ÷ records"),
        ("ms", "per request", 1e3 * took / max(1, len(these)), "ms", "Seconds at the server ÷ requests"),
        (
            "share_of_wall",
            "open, of wall",
            share,
            "",
            "Time in which one was open, most of it while the editor worked, ÷ wall from the first editor "
            "call to the last commit",
        ),
    ]


def covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the spans."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


FIGURES = (log_and_commit, tail, requests_per_record, bytes_per_record, by_kind)
