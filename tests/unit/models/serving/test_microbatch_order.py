"""The micro-batcher: what goes into a batch, in which order and for how many seconds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.models.serving.request_queue import PASSES
from tests.support.models.roles import EDITOR
from tests.unit.models.serving.microbatches import LONG, Model, batcher, batches, outcomes, run


def test_each_request_gets_its_own_answer() -> None:
    async def main() -> list[Any]:
        return await outcomes(batcher(Model()), range(100))

    assert run(main()) == [10 * i for i in range(100)]


def test_what_waits_is_taken_up_to_the_limit() -> None:
    assert batches(range(1, 8), max_batch=3) == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_lone_request_does_not_wait_for_others() -> None:
    model = Model()

    async def main() -> Any:
        batching = batcher(model)
        found = (await batching.submit(4)).value
        await batching.close()
        return found

    assert run(main()) == 40
    assert model.batches == [[4]]


def test_buckets_are_never_mixed() -> None:
    sizes = [1, 2, 11, 3, 12, 21, 4, 22]
    found = batches(sizes, bucket=lambda size: size // 10, max_batch=3)
    assert found == [[1, 2, 3], [11, 12], [21, 22], [4]]


def test_the_most_urgent_goes_first_and_brings_its_bucket_along() -> None:
    requests = [11, 1, 12, 2, 13, 3]
    ranks = [(5,), (4,), (3,), (2, 9), (1,), (2, 1)]
    found = batches(requests, ranks, bucket=lambda size: size // 10, max_batch=2)
    assert found == [[13, 12], [3, 2], [1], [11]]


def test_a_bucket_that_fills_a_call_goes_before_a_more_urgent_one_that_does_not() -> None:
    assert batches([11, 1, 2, 12, 3], bucket=lambda size: size // 10, max_batch=3) == [[1, 2, 3], [11, 12]]


def test_nobody_is_passed_over_more_than_so_often() -> None:
    found = batches([12, *range(12)], bucket=lambda number: number > 11, max_batch=2)
    assert found == [[0, 1], [2, 3], [4, 5], [6, 7], [12], [8, 9], [10, 11]] and PASSES == 4


def test_equals_go_in_the_order_they_came() -> None:
    assert batches([5, 3, 4, 1], [(1,)] * 4, max_batch=1) == [[5], [3], [4], [1]]


def test_replicas_run_side_by_side() -> None:
    together = threading.Barrier(3)

    def call(requests: Sequence[Any]) -> list[Any]:
        together.wait(LONG)  # passes only when three calls are in progress
        return [threading.current_thread().name] * len(requests)

    async def main() -> list[Any]:
        return await outcomes(batcher(call, call, call, max_batch=1), range(3))

    assert set(run(main())) == {"editor-0", "editor-1", "editor-2"}


def test_a_slow_replica_holds_nobody_else_up() -> None:
    slow, quick = Model(held=True), Model(held=True)

    async def main() -> list[Any]:
        batching = batcher(slow, quick, max_batch=1)
        tasks = [asyncio.create_task(batching.submit(i)) for i in range(20)]
        await asyncio.to_thread(slow.entered.wait, LONG)
        await asyncio.to_thread(quick.entered.wait, LONG)
        quick.go.set()
        waiting = set(tasks)
        while len(waiting) > 1:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        slow.go.set()
        found = [(await task).value for task in tasks]
        await batching.close()
        return found

    assert run(main()) == [10 * i for i in range(20)]
    assert (len(slow.batches), len(quick.batches)) == (1, 19)


def test_seconds_are_shared_out_and_add_up() -> None:
    model = Model(held=True)

    async def main() -> Any:
        batching = batcher(model, max_batch=4)
        tasks = [asyncio.create_task(batching.submit(i)) for i in range(6)]
        await asyncio.to_thread(model.entered.wait, LONG)
        model.go.set()
        found = [await task for task in tasks]
        await batching.close()
        return found, batching

    found, batching = run(main())
    assert sum(timed.usage["editor"] for timed in found) == pytest.approx(batching.usage["editor"])
    for batch in model.batches:
        assert len({found[request].usage["editor"] for request in batch}) == 1
    assert all(timed.usage["waiting"] >= 0 and timed.usage["policy"] == 0 for timed in found)


def test_each_call_is_told_of_and_one_that_failed_answered_nobody() -> None:
    told: list[tuple[str, float, float, int]] = []

    def too_large(requests: Sequence[Any]) -> None:
        if len(requests) > 2:
            raise MemoryError

    async def main() -> tuple[list[Any], MicroBatcher[Any, Any]]:
        batching = batcher(Model(fault=too_large), max_batch=4)
        batching.on_call = lambda *call: told.append(call)
        return await outcomes(batching, range(4)), batching

    found, batching = run(main())
    assert found == [0, 10, 20, 30]
    assert [call[3] for call in told] == [0, 2, 2] and {call[0] for call in told} == {"editor-0"}
    seconds = [end - begin for _, begin, end, _ in told]
    assert batching.usage["retried"] == pytest.approx(seconds[0])
    assert batching.usage["editor"] == pytest.approx(sum(seconds[1:]))
    assert batching.usage["editor_waiting"] >= 4 * seconds[0], "the call that failed is part of their wait"


def test_answers_are_finished_while_the_model_is_at_its_next_call() -> None:
    model, finishing, finish = Model(), threading.Event(), threading.Event()

    def slowly(value: int) -> str:
        finishing.set()
        assert finish.wait(LONG)
        if value == 20:
            raise ValueError("no such answer")
        return f"finished {value}"

    async def main() -> list[Any]:
        role = replace(EDITOR, check=slowly, check_apart=True)
        batching: MicroBatcher[Any, Any] = MicroBatcher(role, [model], lambda request: 0, 1)
        asked = asyncio.create_task(outcomes(batching, [1, 2, 3]))
        await asyncio.to_thread(finishing.wait, LONG)
        while len(model.batches) < 3:  # none is finished, and the model went on
            await asyncio.sleep(0.001)
        finish.set()
        return await asked

    one, two, three = run(main())
    assert (one, three) == ("finished 10", "finished 30")
    assert isinstance(two, RecordError) and two.kind is ErrorKind.editor_failed
