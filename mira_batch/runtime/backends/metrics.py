"""A run's figures as metrics of Ray, which every node serves to Prometheus. No tag names a record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ray.util.metrics import Counter, Gauge

from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus

_ROLES = ("policy", "editor", "judge")


class RayMetrics(Progress):
    """Counts from the driver what is committed, and measures what is going on."""

    def __init__(self, run: str) -> None:
        """`run`: name of the run, the tag of all its metrics."""
        self._tags = {"run": run}
        self._told: RunSummary | None = None
        self._began = time.monotonic()
        self._records = _count("mira_records", "Records that ended, by status", "run", "status")
        self._failures = _count("mira_failures", "Records that failed, by kind", "run", "kind")
        self._steps = _count("mira_steps", "Edits of committed records", "run")
        self._seconds = _count("mira_model_seconds", "Seconds of calls, by model", "run", "model", "outcome")
        self._cost = _count("mira_cost_usd", "US dollars for GPUs and endpoints", "run")
        self._shards = _count("mira_shards_committed", "Shards committed", "run")
        self._oom = _count("mira_oom", "Batches that ran out of memory", "run")
        self._retries = _count("mira_endpoint_retries", "Faults that were waited out", "run")
        self._smaller: dict[str, int] = {}
        self._planned = _measure("mira_records_planned", "Records of the plan", "run")
        self._in_flight = _measure("mira_records_in_flight", "Records running now", "run")
        self._busy = _measure("mira_editor_busy", "The editor's share of the workers' time", "run")
        self._eta = _measure("mira_eta_seconds", "Seconds left at the rate of this call", "run")
        self._last = _measure("mira_last_commit_timestamp_seconds", "When a shard was last committed", "run")

    def executing(self, summary: RunSummary) -> None:
        """Say how much there is to do."""
        self._told, self._began = summary, time.monotonic()
        self._planned.set(summary.planned, self._tags)
        self._last.set(time.time(), self._tags)  # so that a run that never commits can be alerted on

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """Count what is running, and batches that had to be made smaller."""
        self._in_flight.set(sum(len(worker.in_flight) for worker in workers), self._tags)
        for worker in workers:
            self._add(self._oom, worker.out_of_memory - self._smaller.get(worker.worker, 0))
            self._smaller[worker.worker] = worker.out_of_memory

    def committed(self, summary: RunSummary) -> None:
        """Count what has come since the last commit."""
        before, self._told = self._told or summary, summary
        new, old = summary.tally, before.tally
        for status in ("ok", "unfinished", "failed"):
            self._add(self._records, getattr(new, status) - getattr(old, status), status=status)
        self._add_each(self._failures, "kind", new.errors, old.errors)
        self._add(self._steps, new.steps - old.steps)
        self._add(self._shards, 1)
        spent, earlier = summary.total.breakdown, before.total.breakdown
        for role in _ROLES:
            self._add(self._seconds, spent[role] - earlier[role], model=role, outcome="answered")
        self._add(self._seconds, spent["retried"] - earlier["retried"], model="any", outcome="retried")
        self._add(self._cost, summary.gpu_cost + summary.cost - before.gpu_cost - before.cost)
        self._add(self._retries, summary.retries - before.retries)
        self._last.set(time.time(), self._tags)
        if spent["worker"]:
            self._busy.set(spent["editor"] / spent["worker"], self._tags)
        here = summary.committed - summary.already
        if here:
            left = summary.planned - summary.committed
            self._eta.set(left * (time.monotonic() - self._began) / here, self._tags)

    def _add(self, counter: Counter, value: float, **tags: str) -> None:
        if value > 0:  # Ray refuses 0
            counter.inc(value, self._tags | tags)

    def _add_each(self, counter: Counter, tag: str, new: Mapping[str, int], old: Mapping[str, int]) -> None:
        for name, value in new.items():
            self._add(counter, value - old.get(name, 0), **{tag: str(name)})


def _count(name: str, description: str, *tags: str) -> Counter:
    return Counter(name, description, tag_keys=tags)


def _measure(name: str, description: str, *tags: str) -> Gauge:
    return Gauge(name, description, tag_keys=tags)
