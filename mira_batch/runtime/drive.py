"""The driver while its workers are at work: counts receipts, looks at the clock, ends a run in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Timer

from mira_batch.config.shared import JobConfig, RunLimits
from mira_batch.core.figures import show_dollars
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.ledger import Ledger
from mira_batch.runtime.pool import Pool
from mira_batch.storage.run.planfile import Shard

_LOOK = 1.0
"""Seconds between looks at the workers and the clock."""
_NAMED = 3
"""Records named when nothing moves, and workers."""
_SILENT = 5.0
"""Seconds of a worker's silence worth a word then."""


def drive(
    config: JobConfig,
    pool: Pool,
    shards: Sequence[Shard],
    ledger: Ledger,
    watch: Progress,
    stop: StopRequest,
) -> None:
    """Take receipts until every shard has one, or the run is to end; then let the steps in hand finish.

    Args:
        config: limits and workers of the run.
        pool: workers at work on `shards`.
        shards: those without a result file.
        ledger: takes in the receipts.
        watch: told what happens.
        stop: by this the run is asked to end, and asks itself.

    Raises:
        UserError: what a worker could not go on with.
    """
    left = {shard.index: shard.records for shard in shards}
    watchdog = Watchdog(config)
    asked = looked = 0.0
    while left and not pool.ended:
        receipt = pool.receive(_LOOK / 5)
        if receipt is not None:
            ledger.add(receipt, left.pop(receipt.shard))
            watch.committed(ledger.summary)
            check_failures(ledger.before, ledger.summary, config.limits, stop)
            check_cost(ledger.summary, config.limits, stop)
        now = time.monotonic()
        if now - looked >= _LOOK:
            looked = now
            watch.heartbeat(pool.statuses)
            if stalled := watchdog.look(ledger.summary.committed, pool.statuses):
                watch.note(stalled)
        if stop.end is None:
            continue
        if not pool.stopping:
            pool.stop()
            asked = now
            watch.note(f"{stop.words}; finishing the steps in hand")
        if pool.idle or now - asked > config.limits.grace_seconds:
            break


def check_failures(before: RunSummary, now: RunSummary, limits: RunLimits, stop: StopRequest) -> None:
    """Ask for the run's end when too large a part of the records of this call failed.

    Args:
        before: how the run stood before this call.
        now: how it stands now.
        limits: says which part may fail, and of how many records at least.
        stop: asked to end the run.
    """
    here = now.tally - before.tally
    ended, failed = here.records, here.failed
    if ended >= limits.min_records and failed > limits.max_failed_fraction * ended:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(here.errors.items()))
        named = f" ({kinds})" if kinds else ""
        stop.ask(
            RunEnd.too_many_failed,
            f"{failed:,} of {ended:,} records failed{named}, more than limits.max_failed_fraction "
            f"({limits.max_failed_fraction:g}) allows: mend the cause, or raise the limit",
        )


def check_cost(now: RunSummary, limits: RunLimits, stop: StopRequest) -> None:
    """Ask for the run's end when it has cost as much as it may.

    Args:
        now, limits, stop: as of `check_failures`.
    """
    spent = now.gpu_cost + now.cost
    if limits.max_cost is not None and spent >= limits.max_cost:
        stop.ask(
            RunEnd.max_cost,
            f"it has cost {show_dollars(spent)}, and limits.max_cost is {show_dollars(limits.max_cost)}",
        )


class Watchdog:
    """Notices that nothing has moved for `limits.stall_seconds`, and says what is in flight.

    It says so again after twice the time, four times, and so on.
    """

    def __init__(self, config: JobConfig) -> None:
        self._workers = config.workers
        self._patience = config.limits.stall_seconds
        self._seen: tuple[int, ...] = ()
        self._moved = time.monotonic()
        self._due = self._patience

    def look(self, committed: int, statuses: Sequence[WorkerStatus]) -> str | None:
        """What to tell people, if anything."""
        now = time.monotonic()
        seen = (
            committed,
            sum(s.ended.records for s in statuses),
            sum(s.steps for s in statuses),
            len(statuses),
        )
        if seen != self._seen:
            self._seen, self._moved, self._due = seen, now, self._patience
        if now - self._moved < self._due:
            return None
        self._due *= 2
        return f"nothing has moved for {now - self._moved:,.0f} s: {self._describe_situation(statuses)}"

    def _describe_situation(self, statuses: Sequence[WorkerStatus]) -> str:
        if not statuses:
            return (
                f"no worker is there; each needs {self._workers.cpus:g} CPU and {self._workers.gpus:g} GPU, "
                "and time to load its models (`ray status` shows what the cluster has)"
            )
        silent = [
            f"; worker {status.worker} has not answered for {status.silent:,.0f} s"
            for status in statuses
            if status.silent > _SILENT
        ]
        at = [
            (activity.seconds + status.silent, name, activity)
            for status in statuses
            for name, activity in status.in_flight.items()
        ]
        if not at:
            return f"{len(statuses)} workers, no record in flight{''.join(silent[:_NAMED])}"
        at.sort(key=lambda item: -item[0])
        named = [
            f"{name!r} at step {activity.step} ({activity.doing}) for {seconds:,.0f} s"
            for seconds, name, activity in at[:_NAMED]
        ]
        more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
        return f"in flight on {len(statuses)} workers are {', '.join(named)}{more}{''.join(silent[:_NAMED])}"


@contextmanager
def watch_deadline(config: JobConfig, stop: StopRequest) -> Iterator[None]:
    """Ask for the run's end when `limits.deadline` comes.

    Args:
        config: the job's, with the deadline.
        stop: by this it is asked.
    """
    seconds = config.limits.seconds_left(datetime.now(UTC))
    if seconds is None:
        yield
        return
    words = f"limits.deadline ({config.limits.deadline}) is reached"
    timer = Timer(max(0.0, seconds), stop.ask, (RunEnd.deadline, words))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
