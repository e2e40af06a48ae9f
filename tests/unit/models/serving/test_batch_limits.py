"""What is learned of calls that run out of memory, and who may be in a call at the same time."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.models.serving.batch_limits import (
    MOST_BUCKETS,
    MOST_PATIENCE,
    PATIENCE,
    BatchLimits,
    CallsInProgress,
)

LONG = 30
"""Seconds after which a test that hangs gives up."""


def at_full_demand(limits: BatchLimits, fits: int, calls: int) -> tuple[list[int], int]:
    """The sizes of so many calls, each as large as allowed, and how many of them did not fit."""
    sizes, short = [], 0
    for _ in range(calls):
        sizes.append(limits.limit("a"))
        if sizes[-1] > fits:
            short += 1
            limits.record_out_of_memory("a", sizes[-1])
        else:
            limits.record_fit("a", sizes[-1])
    return sizes, short


def test_a_rise_that_does_not_fit_is_taken_back_and_the_next_waits_twice_as_long() -> None:
    sizes, short = at_full_demand(BatchLimits(8), 5, 1 + 7 * PATIENCE + 2)
    n = PATIENCE
    assert sizes == [8] + [4] * n + [5] * n + [6] + [5] * 2 * n + [6] + [5] * (3 * n)
    assert short == 3


def test_a_rise_that_stands_its_test_ends_the_longer_wait() -> None:
    limits, n = BatchLimits(8), PATIENCE
    at_full_demand(limits, 5, 1 + 2 * n + 1)
    sizes, _ = at_full_demand(limits, 8, 6 * n + 1)
    assert sizes == [5] * 2 * n + [6] * 2 * n + [7] * n + [8] * (n + 1)
    assert len(limits) == 0


def test_the_wait_has_an_end() -> None:
    limits = BatchLimits(8)
    _, short = at_full_demand(limits, 1, 100_000)
    assert short == pytest.approx(100_000 / MOST_PATIENCE, rel=0.1)


def test_small_batches_prove_nothing() -> None:
    limits = BatchLimits(8)
    limits.record_out_of_memory("a", 8)
    for _ in range(10 * PATIENCE):
        limits.record_fit("a", 3)
    assert limits.limit("a") == 4


def test_a_call_begun_before_the_limit_fell_teaches_nothing_new() -> None:
    limits = BatchLimits(8)
    for size in (8, 4, 8, 8, 4):
        limits.record_out_of_memory("a", size)
    assert limits.limit("a") == 2


def test_what_is_remembered_is_bounded() -> None:
    limits = BatchLimits(8)
    for bucket in range(MOST_BUCKETS):
        limits.record_out_of_memory(bucket, 8)
    limits.record_fit(0, 1)
    limits.record_out_of_memory("one more", 8)
    assert len(limits) == MOST_BUCKETS
    assert [limits.limit(bucket) for bucket in (0, 1, 2, "one more")] == [4, 8, 4, 4]


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4000))
def test_calls_that_run_out_are_few(max_batch: int, fits: int, calls: int) -> None:
    limits = BatchLimits(max_batch)
    sizes, short = at_full_demand(limits, fits, calls)
    assert all(1 <= size <= max_batch for size in sizes)
    assert short <= math.log2(max_batch) + math.log2(1 + calls / PATIENCE) + 1
    if fits >= max_batch:
        assert short == 0 and len(limits) == 0
    if calls >= PATIENCE * 64 + 10:
        assert limits.limit("a") in (min(fits, max_batch), min(fits + 1, max_batch))


def test_a_call_is_told_whether_it_met_others() -> None:
    calls = CallsInProgress()
    with calls.enter() as met_others:
        assert not met_others()
        with calls.enter() as met_first:
            assert met_first()
        assert met_others()
    with calls.enter() as met_others:
        assert not met_others()


def test_nobody_slips_in_before_or_beside_one_who_comes_alone() -> None:
    calls, order = CallsInProgress(), list[str]()
    asked, go = threading.Event(), threading.Event()

    def alone() -> None:
        asked.set()
        with calls.enter(alone=True) as met_others:
            order.append("alone")
            assert go.wait(LONG)
            order.append("left" if not met_others() else "not alone")

    def third() -> None:
        with calls.enter():
            order.append("third")

    threads = [threading.Thread(target=one) for one in (alone, third)]
    with calls.enter():
        threads[0].start()
        assert asked.wait(LONG)
        until = time.monotonic() + LONG
        while not calls._reserved:
            assert time.monotonic() < until
        threads[1].start()
        threads[1].join(0.02)
        assert order == []
    threads[1].join(0.02)
    go.set()
    for thread in threads:
        thread.join(LONG)
    assert order == ["alone", "left", "third"]
