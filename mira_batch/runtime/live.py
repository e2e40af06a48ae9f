"""What a run is doing just now, for whoever reads its store: `<run>/live.json`, renewed every few seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
from mira_batch.storage.run.layout import LIVE, parse_document
from mira_batch.storage.stores import Store

EVERY = 5.0
"""Seconds between two states that are written."""
_RECORDS = 8
"""Most records in flight that are named of each worker."""


class Watchers(Progress):
    """Tells several of what one is told."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def planning(self, rows: int) -> None:
        """To all."""
        for watcher in self._watchers:
            watcher.planning(rows)

    def executing(self, summary: RunSummary) -> None:
        """To all."""
        for watcher in self._watchers:
            watcher.executing(summary)

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """To all."""
        for watcher in self._watchers:
            watcher.heartbeat(workers)

    def committed(self, summary: RunSummary) -> None:
        """To all."""
        for watcher in self._watchers:
            watcher.committed(summary)

    def note(self, text: str) -> None:
        """To all, from any thread."""
        for watcher in self._watchers:
            watcher.note(text)


class LiveWriter(Progress):
    """Writes what a run is doing, from a thread of its own: a slow store holds up no run, one that is gone
    only makes the state old. To be used as a context manager, at the end of which the file is gone."""

    def __init__(self, store: Store, every: float = EVERY) -> None:
        """
        Args:
            store: the run's directory.
            every: seconds between two states.
        """
        self._store = store
        self._every = every
        self._summary: RunSummary | None = None
        self._workers: Sequence[WorkerStatus] = ()
        self._note = ""
        self._began = time.monotonic()  # the system's clock may be set meanwhile
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="live", daemon=True)

    def __enter__(self) -> LiveWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(self._every)
        with suppress(StoreError):
            self._store.delete([LIVE])

    def executing(self, summary: RunSummary) -> None:
        """What there is to do."""
        self._summary = summary

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """What each worker is doing."""
        self._workers = workers

    def committed(self, summary: RunSummary) -> None:
        """How the run stands."""
        self._summary = summary

    def note(self, text: str) -> None:
        """The last that people should read."""
        self._note = text

    def _write(self) -> None:
        while not self._ended.wait(self._every):
            summary, workers = self._summary, self._workers
            if summary is None:
                continue
            with suppress(StoreError):
                self._store.put(LIVE, json.dumps(self._dump(summary, workers)).encode())

    def _dump(self, summary: RunSummary, workers: Sequence[WorkerStatus]) -> dict[str, Any]:
        ended = sum(worker.ended.records for worker in workers)
        errors = dict(summary.errors)
        for worker in workers:
            for kind, count in worker.ended.errors.items():
                errors[kind] = errors.get(kind, 0) + count
        spent = summary.total.breakdown
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": time.monotonic() - self._began,
            "run_id": summary.run_id,
            "planned": summary.planned,
            "already": summary.already,
            "done": min(summary.planned, summary.committed + ended),
            "committed": summary.committed,
            "ok": summary.ok + sum(worker.ended.ok for worker in workers),
            "unfinished": summary.unfinished + sum(worker.ended.unfinished for worker in workers),
            "errors": errors,
            "steps": max(summary.steps, sum(worker.steps for worker in workers)),
            "cost": summary.gpu_cost + summary.cost,
            "editor_busy": spent["editor"] / spent["worker"] if spent["worker"] else None,
            "workers": [_dump_worker(worker) for worker in workers],
            "note": self._note,
        }


def _dump_worker(worker: WorkerStatus) -> dict[str, Any]:
    flights = sorted(worker.in_flight.items(), key=lambda item: -item[1].seconds)
    return {
        "worker": worker.worker,
        "shards": worker.shards,
        "in_flight": len(flights),
        "silent": round(worker.silent, 1),
        "stopping": worker.stopping,
        "records": [
            {"record_id": name, "step": at.step, "doing": at.doing, "seconds": round(at.seconds, 1)}
            for name, at in flights[:_RECORDS]
        ],
    }


@dataclass(frozen=True)
class LiveState:
    """What a run was doing when it last said so."""

    at: str
    """When, ISO 8601 by the driver's clock."""
    seconds: float
    """Since its driver began."""
    run_id: str
    planned: int
    already: int
    """Committed before this call."""
    done: int
    """Records that have ended, committed or not."""
    committed: int
    ok: int
    unfinished: int
    steps: int
    cost: float
    """US dollars so far, of committed shards."""
    editor_busy: float | None
    """The editor's share of the workers' time, over committed shards; None while there is none."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed records by kind."""
    workers: Sequence[Mapping[str, Any]] = ()
    """What each is doing: `worker`, `shards`, `in_flight`, `silent`, `stopping`, `records`."""
    note: str = ""
    """What it last had to say."""

    @property
    def rate(self) -> float:
        """Records a second, over this call."""
        return (self.done - self.already) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that are left at this rate; None while there is no rate."""
        return (self.planned - self.done) / self.rate if self.rate > 0 else None


def read_live(store: Store) -> LiveState | None:
    """What a run is doing; None where no driver has said so.

    Args:
        store: the run's directory.

    Raises:
        StoreError: the store can't be used.
    """
    where = store.locate(LIVE)
    found = store.read(LIVE, lambda data: parse_document(data, where, *_NEEDED))
    if found is None:
        return None
    return LiveState(
        **{name: value for name, value in found.items() if name in LiveState.__dataclass_fields__}
    )


_NEEDED = ("at", "seconds", "planned", "done")
