"""The driver at its pool: what it counts, when it ends a run, and what it says of one that stalls."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from mira_batch import load_config
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Activity, Progress, Receipt, RunSummary, Tally, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.drive import Watchdog, check_failures, drive
from mira_batch.runtime.ledger import Ledger
from mira_batch.runtime.pool import Pool
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import settings

SHARDS = [Shard(index, "plan", index, 10) for index in range(3)]
PLANNED = RunSummary("out/run", "run", planned=30, shards=3)
BUSY = WorkerStatus(shards=1, in_flight={"rec-7": Activity(2, "editor", 41.0)})


class Watch(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.commits: list[int] = []
        self.beats: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def committed(self, summary: RunSummary) -> None:
        self.commits.append(summary.committed)

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        self.beats.append(len(statuses))


def with_limits(**limits: Any) -> BulkEditConfig:
    return load_config(settings("m.jsonl", "out", limits=limits))


def pool_of(*answers: Receipt | BaseException | None, statuses: Sequence[WorkerStatus] = ()) -> Pool:
    pool = Pool(statuses=list(statuses), told=True)
    for answer in answers:
        pool.answers.put(answer)
    return pool


def driven(
    pool: Pool, watch: Progress | None = None, stop: StopRequest | None = None, **limits: Any
) -> RunSummary:
    config = with_limits(**limits)
    ledger = Ledger(open_store("memory:///run", config.storage), "ab", PLANNED)
    drive(config, pool, SHARDS, ledger, watch or Progress(), stop or StopRequest())
    return ledger.summary


def ok(shard: int) -> Receipt:
    return Receipt(shard, Tally(records=10, ok=10, steps=20))


# Receipts


def test_it_ends_with_the_last_receipt() -> None:
    watch = Watch()
    summary = driven(pool_of(ok(2), ok(0), ok(1)), watch)
    assert (summary.committed, summary.ok, summary.steps) == (30, 30, 60)
    assert watch.commits == [10, 20, 30] and watch.notes == []


def test_it_ends_when_every_call_has_returned() -> None:
    summary = driven(pool_of(ok(0), None))
    assert summary.committed == 10


def test_an_error_of_a_worker_ends_the_run_as_it_is() -> None:
    with pytest.raises(StoreError, match="no such bucket"):
        driven(pool_of(ok(0), StoreError("no such bucket"), ok(1)))


def test_it_looks_at_the_workers_about_once_a_second_also_while_receipts_come() -> None:
    watch, pool = Watch(), pool_of(ok(0), ok(1), statuses=[BUSY, BUSY])
    threading.Timer(1.2, pool.answers.put, (ok(2),)).start()
    driven(pool, watch)
    assert watch.beats[:2] == [2, 2] and len(watch.beats) < 20, "at once, and a second later"


# Ending early


def test_told_to_stop_it_waits_for_the_steps_in_hand() -> None:
    watch, stop, pool = Watch(), StopRequest(), pool_of(ok(0), statuses=[BUSY])
    stop.ask(RunEnd.interrupted, "SIGTERM received")

    def last_steps() -> None:
        pool.answers.put(ok(1))
        time.sleep(0.5)
        pool.statuses = [WorkerStatus(stopping=True)]

    threading.Timer(0.5, last_steps).start()
    started = time.monotonic()
    summary = driven(pool, watch, stop, grace_seconds=60)
    assert time.monotonic() - started >= 1.0, "a worker was at a step"
    assert pool.stopping and summary.committed == 20, "what is committed meanwhile counts"
    assert watch.notes == ["SIGTERM received; finishing the steps in hand"]


def test_a_step_that_takes_longer_than_the_grace_is_left() -> None:
    stop, pool = StopRequest(), pool_of(statuses=[BUSY, WorkerStatus(stopping=True)])
    stop.ask(RunEnd.deadline, "it is time")
    started = time.monotonic()
    summary = driven(pool, stop=stop, grace_seconds=0.5)
    assert 0.5 <= time.monotonic() - started < 30 and summary.committed == 0


def test_a_worker_that_has_not_heard_it_yet_is_not_idle() -> None:
    heard, unheard = WorkerStatus(stopping=True), WorkerStatus()
    assert pool_of(statuses=[heard]).idle and not pool_of(statuses=[heard, unheard]).idle
    assert not pool_of(statuses=[WorkerStatus(stopping=True, shards=1)]).idle


def test_a_pool_is_not_idle_by_what_was_heard_before_it_was_told() -> None:
    """It may just have started: then no worker had said anything yet, and all of them are at a step."""
    assert not Pool().idle and not Pool(statuses=[WorkerStatus(stopping=True)]).idle
    stop, pool = StopRequest(), Pool()
    stop.ask(RunEnd.interrupted, "SIGTERM received")

    def told() -> None:
        pool.statuses, pool.told = [BUSY], True
        time.sleep(0.5)
        pool.statuses = [WorkerStatus(stopping=True)]

    threading.Timer(0.5, told).start()
    started = time.monotonic()
    driven(pool, stop=stop, grace_seconds=60)
    assert time.monotonic() - started >= 1.0


def test_the_last_receipt_ends_a_run_that_is_being_stopped() -> None:
    stop, pool = StopRequest(), pool_of(ok(0), ok(1), ok(2), statuses=[BUSY])
    stop.ask(RunEnd.interrupted, "SIGINT received")
    assert driven(pool, stop=stop, grace_seconds=600).complete


def test_the_first_reason_to_stop_stands() -> None:
    stop = StopRequest()
    stop.ask(RunEnd.deadline, "it is time")
    stop.ask(RunEnd.interrupted, "SIGINT received")
    assert (stop.end, stop.words) == (RunEnd.deadline, "it is time")


# Too many failures


def failures(ended: int, failed: int, **limits: Any) -> StopRequest:
    """Judges a call in which so many records ended, of a run in which others had failed before."""
    stop = StopRequest()
    errors = {"policy_failed": failed - 1, "editor_failed": 1} if failed else {}
    earlier = Tally(records=2000, ok=1000, errors={"editor_failed": 1000})
    before = RunSummary("out/run", "run", total=Receipt(tally=earlier))
    now = before.plus(Receipt(tally=Tally(records=ended, ok=ended - failed, errors=errors)), ended)
    check_failures(before, now, with_limits(**limits).limits, stop)
    return stop


def test_unfinished_records_are_no_failures() -> None:
    before, stop = RunSummary("out/run", "run"), StopRequest()
    now = before.plus(Receipt(tally=Tally(records=200, ok=20, unfinished=180)), 200)
    check_failures(before, now, with_limits(max_failed_fraction=0).limits, stop)
    assert stop.end is None and (now.unfinished, now.failed) == (180, 0)


def test_too_many_failures_end_the_run_and_name_their_kinds() -> None:
    stop = failures(200, 21, max_failed_fraction=0.1)
    assert stop.end is RunEnd.too_many_failed
    assert "21 of 200 records failed (editor_failed 1, policy_failed 20)" in stop.words
    assert "limits.max_failed_fraction (0.1)" in stop.words


@pytest.mark.parametrize(
    ("ended", "failed", "limits"),
    [
        (200, 20, {"max_failed_fraction": 0.1}),  # just what is allowed
        (99, 99, {"max_failed_fraction": 0.1}),  # too few to judge by
        (200, 200, {}),  # by default nothing stops it
        (200, 0, {"max_failed_fraction": 0}),
    ],
)
def test_what_is_allowed_does_not_end_it(ended: int, failed: int, limits: dict[str, float]) -> None:
    assert failures(ended, failed, **limits).end is None


def test_a_few_failures_are_enough_where_few_records_are() -> None:
    assert failures(4, 1, max_failed_fraction=0, min_records=4).end is RunEnd.too_many_failed


def test_a_run_with_too_many_failures_ends_in_order() -> None:
    bad = Receipt(0, Tally(records=10, errors={"policy_failed": 10}))
    watch, pool = Watch(), pool_of(bad)
    summary = driven(pool, watch, max_failed_fraction=0.5, min_records=10)
    assert pool.stopping and summary.failed == 10 and not summary.complete
    assert len(watch.notes) == 1 and "10 of 10 records failed" in watch.notes[0]


# The watchdog


def stalled_for(seconds: float, statuses: Sequence[WorkerStatus], **limits: Any) -> str:
    watchdog = Watchdog(with_limits(stall_seconds=seconds, **limits))
    assert watchdog.look(0, statuses) is None
    time.sleep(seconds)
    note = watchdog.look(0, statuses)
    assert note is not None
    return note


def test_a_stall_names_what_is_in_flight_longest_first() -> None:
    at = [("new", 1.0), ("oldest", 90.0), ("old", 30.0), ("newer", 0.5)]
    statuses = [
        WorkerStatus(shards=1, in_flight={name: Activity(4, "editor", seconds) for name, seconds in at[:2]}),
        WorkerStatus(shards=1, in_flight={name: Activity(0, "policy", seconds) for name, seconds in at[2:]}),
    ]
    note = stalled_for(0.05, statuses)
    assert note.startswith("nothing has moved for 0 s: in flight on 2 workers are")
    named = "'oldest' at step 4 (editor) for 90 s, 'old' at step 0 (policy) for 30 s, 'new' at step 4"
    assert named in note and note.endswith("(editor) for 1 s and 1 more")


def test_a_stall_without_workers_says_what_each_needs() -> None:
    assert "no worker is there; each needs 1 CPU and 0 GPU" in stalled_for(0.05, [])


def test_a_stall_of_workers_that_hold_nothing_says_so() -> None:
    assert stalled_for(0.05, [WorkerStatus(), WorkerStatus()]).endswith("2 workers, no record in flight")


@pytest.mark.parametrize(
    ("committed", "statuses"),
    [
        (10, [BUSY]),
        (0, [WorkerStatus(ended=Tally(records=1))]),
        (0, [WorkerStatus(steps=1)]),
        (0, [BUSY, BUSY]),  # a worker more has come
        (0, []),
    ],
)
def test_whatever_moves_ends_a_stall(committed: int, statuses: list[WorkerStatus]) -> None:
    watchdog = Watchdog(with_limits(stall_seconds=0.3))
    watchdog.look(0, [BUSY])
    time.sleep(0.32)
    assert watchdog.look(committed, statuses) is None
    assert watchdog.look(committed, statuses) is None, "its patience begins anew"


def test_a_stall_is_said_again_ever_more_rarely() -> None:
    watchdog = Watchdog(with_limits(stall_seconds=0.1))
    said, started = 0, time.monotonic()
    while time.monotonic() - started < 1.0:
        said += watchdog.look(0, [BUSY]) is not None
        time.sleep(0.005)
    assert 1 <= said <= 4, "after 0.1, 0.2, 0.4 and 0.8 s; fewer where the machine is slow"


def test_a_stalled_run_goes_on_and_says_so_once_a_patience() -> None:
    watch, pool = Watch(), pool_of(ok(0), ok(1), statuses=[BUSY])
    threading.Timer(2.5, pool.answers.put, (ok(2),)).start()
    assert driven(pool, watch, stall_seconds=1.0).complete
    assert 1 <= len(watch.notes) <= 2 and "'rec-7' at step 2 (editor) for 41 s" in watch.notes[0]
