"""What people are told of nodes that are being drained."""

from __future__ import annotations

import math

from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.draining import DrainWatch
from mira_batch.runtime.backends.processes import WorkerProcess

A, B = (WorkerProcess(name, "n1", pid, "spot-1") for name, pid in (("a", 1), ("b", 2)))
OTHER = WorkerProcess("c", "n2", 3, "spot-2")
BUSY = WorkerStatus(shards=4)


def left(shards: int) -> WorkerStatus:
    return WorkerStatus(stopping=True, handed_back=shards)


def test_a_drain_is_told_when_it_begins_and_when_the_last_worker_has_left() -> None:
    watch = DrainWatch()
    (begun,) = watch.begin({"n1": 130.0}, {A: BUSY, B: BUSY, OTHER: BUSY}, now=100.0)
    assert begun.startswith("node spot-1 is being drained and will be gone in 30 s: its workers (2) finish")
    assert watch.begin({"n1": 130.0}, {A: BUSY, B: BUSY}, now=101.0) == [], "once"
    assert watch.hear({A: left(4), OTHER: BUSY}, gone=[]) == []
    assert watch.hear({B: WorkerStatus(shards=1, stopping=True)}, gone=[A]) == []
    (over,) = watch.hear({B: left(3)}, gone=[])
    assert over == "node spot-1 was drained: 7 shards were handed back and go on elsewhere"
    assert watch.hear({B: left(3)}, gone=[B]) == [] and watch.nodes == {"n1"}


def test_workers_that_die_before_they_could_leave_are_told_apart() -> None:
    watch = DrainWatch()
    watch.begin({"n1": 130.0}, {A: BUSY, B: BUSY}, now=100.0)
    (over,) = watch.hear({A: left(2)}, gone=[B])
    assert over == (
        "node spot-1 was drained: 2 shards were handed back and go on elsewhere; 1 of its workers died "
        "first, and what they had in hand goes on elsewhere"
    )


def test_a_drain_without_a_deadline_or_without_workers() -> None:
    watch = DrainWatch()
    (begun,) = watch.begin({"n1": math.inf, "n3": 110.0}, {A: BUSY}, now=100.0)
    assert begun.startswith("node spot-1 is being drained: its workers (1) finish")
    assert watch.nodes == {"n1", "n3"}, "whoever starts there is told to leave, too"


def test_a_worker_that_had_nothing_in_hand() -> None:
    watch = DrainWatch()
    watch.begin({"n1": 130.0}, {A: BUSY}, now=100.0)
    assert watch.hear({A: left(0)}, gone=[]) == ["node spot-1 was drained: nothing was left to hand back"]
