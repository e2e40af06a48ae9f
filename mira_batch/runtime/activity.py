"""What the records of a worker are doing, from moment to moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mira_batch.core.receipts import Activity
from mira_batch.runtime.trace import Trace

_IO = frozenset({"reading", "logging", "writing"})


class ActivityReport:
    """Told by the records what they do; says so in each heartbeat, and collects a profile where one is
    wanted.

    All calls but `in_flight` come from the worker's event loop.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self.steps = 0
        """Steps made so far."""
        self.io_seconds = 0.0
        """Seconds that records were read, logged or written, and of commits."""
        self._trace = trace
        self._at: dict[str, tuple[str, int, float]] = {}

    def move(self, record_id: str, doing: str, step: int | None = None) -> None:
        """A record does this from now on: reading, the role of a model, logging or writing.

        Args:
            record_id: which record; of several trajectories of one, which of them.
            doing: what.
            step: at which step of its trajectory, from 0; None, the one it was at.
        """
        before = self._at.get(record_id)
        now = self._end_activity(record_id)
        if before is None and self._trace is not None:
            self._trace.enter(record_id)
        at = step if step is not None else before[1] if before is not None else 0
        self._at[record_id] = (doing, at, now)

    def leave(self, record_id: str) -> None:
        """A record has ended, or is left to another call."""
        if record_id in self._at:
            self._end_activity(record_id)
            del self._at[record_id]
            if self._trace is not None:
                self._trace.leave(record_id)

    def count_step(self) -> None:
        """A step more is made."""
        self.steps += 1

    def in_flight(self) -> Mapping[str, Activity]:
        """What each record does just now, by record_id. May be asked for from any thread."""
        now, at = time.perf_counter(), dict(self._at)  # a copy at once, which no other thread can disturb
        return {name: Activity(step, doing, now - since) for name, (doing, step, since) in at.items()}

    @contextmanager
    def commit(self, shard: int) -> Iterator[None]:
        """A shard is committed inside."""
        begin = time.perf_counter()
        if self._trace is not None:
            self._trace.enter(shard)
        yield
        end = time.perf_counter()
        self.io_seconds += end - begin
        if self._trace is not None:
            self._trace.commit(shard, begin, end)
            self._trace.leave(shard)

    def _end_activity(self, record_id: str) -> float:
        """Book what a record did until now; returns now."""
        now = time.perf_counter()
        if (before := self._at.get(record_id)) is not None:
            doing, step, since = before
            if doing in _IO:
                self.io_seconds += now - since
            if self._trace is not None:
                self._trace.record(record_id, step, doing, since, now)
        return now
