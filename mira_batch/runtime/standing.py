"""How a run stands, as its driver is told while it goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from mira_batch.core.figures import show_clock
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus

_QUIET = 30.0
"""Seconds between two lines of a run that is a part of something longer."""


class Standing(Progress):
    """Keeps what a run was last heard to be at, and says it in a line."""

    def __init__(self) -> None:
        self.summary: RunSummary | None = None
        """None: it is being planned."""
        self.workers: Sequence[WorkerStatus] = ()
        self._executing_since = time.monotonic()

    def executing(self, summary: RunSummary) -> None:
        """Keep it, and the time from which its pace is counted."""
        self.summary, self._executing_since = summary, time.monotonic()

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """Keep it."""
        self.workers = workers

    def committed(self, summary: RunSummary) -> None:
        """Keep it."""
        self.summary = summary

    @property
    def done(self) -> int:
        """Records that ended, committed or in a shard still open."""
        committed = self.summary.committed if self.summary else 0
        planned = self.summary.planned if self.summary else 0
        return min(planned, committed + sum(worker.ended.records for worker in self.workers))

    def describe(self) -> str:
        """A line for people."""
        summary = self.summary
        if summary is None:
            return "starting"
        done = f"{self.done:,} of {summary.planned:,} records"
        if summary.complete:
            unfinished = f", {summary.unfinished:,} unfinished" if summary.unfinished else ""
            return f"{done}{unfinished}, {summary.failed:,} failed"
        if not self.workers:
            return f"{done}; workers are starting and loading their models"
        workers = f"{len(self.workers)} worker{'' if len(self.workers) == 1 else 's'}"
        in_flight = sum(len(worker.in_flight) for worker in self.workers)
        steps = max(summary.steps, sum(worker.steps for worker in self.workers))
        if any(worker.stopping for worker in self.workers):
            return f"{done}; finishing {in_flight} steps in hand"
        parts = [
            done,
            *self._describe_unfinished(summary),
            self._describe_failed(summary),
            f"{in_flight} in flight on {workers}",
            f"{steps:,} edits",
        ]
        if smaller := sum(worker.out_of_memory for worker in self.workers):
            parts.append(f"{smaller:,} batches out of memory, tried again smaller")
        if remaining := self._estimate_remaining():
            parts.append(f"{remaining} left")
        return ", ".join(parts)

    def _describe_unfinished(self, summary: RunSummary) -> list[str]:
        """Unfinished records so far, if any, those of open shards included."""
        count = summary.unfinished + sum(worker.ended.unfinished for worker in self.workers)
        return [f"{count:,} unfinished"] if count else []

    def _describe_failed(self, summary: RunSummary) -> str:
        """Failed records so far, by kind, those of open shards included."""
        kinds = Counter(summary.errors)
        for worker in self.workers:
            kinds.update(worker.ended.errors)
        most = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(3))
        return f"{kinds.total():,} failed" + (f" ({most})" if most else "")

    def _estimate_remaining(self) -> str:
        """Time left at the pace of this call; empty until there is a pace."""
        assert self.summary is not None
        here = self.done - self.summary.already
        elapsed = time.monotonic() - self._executing_since
        if here < 8 or elapsed < 3:
            return ""
        return show_clock((self.summary.planned - self.done) * elapsed / here)


class NotedProgress(Standing):
    """Says now and then how a run stands that is a part of something longer. A short one says nothing."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """
        Args:
            note: told how it goes, for people.
        """
        super().__init__()
        self._note = note
        self._last = time.monotonic()

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """Keep it, and say so where it is time."""
        super().heartbeat(workers)
        if time.monotonic() - self._last >= _QUIET:
            self._last = time.monotonic()
            self._note(self.describe())

    def note(self, text: str) -> None:
        """Pass it on at once."""
        self._note(text)
