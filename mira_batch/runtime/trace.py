"""A profile of a run: what each model and each record did, moment by moment, as a chrome trace.

Workers collect spans and send them along with their receipts; the driver adds its own and writes
`<run>/profile.json`, which chrome://tracing and ui.perfetto.dev open.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mira_batch.core.receipts import Receipt
from mira_batch.core.usage import Span
from mira_batch.storage.run.layout import PROFILE
from mira_batch.storage.stores import Store

MOST_SPANS = 300_000
"""Kept of a run, the first ones: a file of some 50 MB, which viewers still open."""


class Trace:
    """What one worker collects. Spans may come from any of its threads."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque()
        self._epoch = time.time() - time.perf_counter()
        self._lanes: dict[str | int, int] = {}
        """The lane of each record and commit in flight."""
        self._free: list[int] = []
        self._next = itertools.count()

    def call(self, replica: str, begin: float, end: float, answered: int) -> None:
        """A model's call; moments are `time.perf_counter()`, as everywhere in this class.

        Args:
            replica: which copy of which model: "editor-0".
            begin: when the call began.
            end: when it ended.
            answered: how many requests it answered, 0 where it failed.
        """
        self._add("model", replica.partition("-")[0], replica, begin, end, {"batch": answered})

    def load(self, begin: float, end: float) -> None:
        """The models were loaded between these moments."""
        self._add("model", "load", "load", begin, end, {})

    def enter(self, name: str | int) -> None:
        """A record, or the commit of a shard by its number, begins: it gets the lowest lane that is free."""
        self._lanes[name] = heapq.heappop(self._free) if self._free else next(self._next)

    def record(self, name: str, step: int, doing: str, begin: float, end: float) -> None:
        """What a record did that has entered.

        Args:
            name: the record's id.
            step: the step it was at, from 0.
            doing: reading, the role of a model, logging or writing.
            begin: since when.
            end: until when.
        """
        self._add("record", doing, self._name_lane(name), begin, end, {"record": name, "step": step})

    def commit(self, shard: int, begin: float, end: float) -> None:
        """A shard that has entered was committed between these moments.

        Args:
            shard: its number.
            begin: when its result file was begun.
            end: when it stood.
        """
        self._add("store", "commit", self._name_lane(shard), begin, end, {"shard": shard})

    def leave(self, name: str | int) -> None:
        """It is at its end, and others may have its lane."""
        heapq.heappush(self._free, self._lanes.pop(name))

    def drain(self) -> tuple[Span, ...]:
        """The spans since the last call."""
        # One by one: of a list that is swapped, a thread that is about to append to the old one loses a span.
        return tuple(self._spans.popleft() for _ in range(len(self._spans)))

    def _name_lane(self, name: str | int) -> str:
        return f"record-{self._lanes[name]:03d}"

    def _add(self, kind: str, name: str, lane: str, begin: float, end: float, args: dict[str, Any]) -> None:
        self._spans.append((kind, name, lane, self._epoch + begin, end - begin, args))


class Profile:
    """What the driver puts together."""

    def __init__(self) -> None:
        self._started = time.time()
        self._spans: list[tuple[str, Span]] = []
        self._left_out = 0

    def add(self, receipt: Receipt) -> None:
        """A worker's spans."""
        room = MOST_SPANS - len(self._spans)
        self._spans += [(receipt.worker, span) for span in receipt.spans[:room]]
        self._left_out += max(0, len(receipt.spans) - room)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Something that the driver does."""
        begin = time.time()
        try:
            yield
        finally:
            self._spans.append(("driver", ("driver", name, "driver", begin, time.time() - begin, {})))

    def write(self, store: Store) -> None:
        """Raises StoreError."""
        workers = dict.fromkeys(["driver", *(worker for worker, _ in self._spans)])
        numbers = {worker: number for number, worker in enumerate(workers)}
        lanes: dict[tuple[str, str], int] = {}
        for worker, span in sorted(
            self._spans, key=lambda entry: (entry[0], _rank_span(entry[1]), entry[1][2])
        ):
            lanes.setdefault((worker, span[2]), len(lanes) + 1)
        events = [_name("process", numbers[worker], 0, worker) for worker in workers]
        events += [_name("thread", numbers[worker], number, lane) for (worker, lane), number in lanes.items()]
        for worker, (category, name, lane, begin, seconds, args) in self._spans:
            events.append(
                {
                    "ph": "X",
                    "cat": category,
                    "name": name,
                    "pid": numbers[worker],
                    "tid": lanes[worker, lane],
                    "ts": round(1e6 * (begin - self._started)),
                    "dur": round(1e6 * seconds),
                    "args": args,
                }
            )
        document = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"left_out": self._left_out}}
        store.put(PROFILE, json.dumps(document, separators=(",", ":")).encode())


def _rank_span(span: Span) -> int:
    return ("driver", "model", "store", "record").index(span[0])


def _name(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    """Chrome's way to name a process or thread."""
    return {"ph": "M", "name": f"{what}_name", "pid": pid, "tid": tid, "args": {"name": name}}
