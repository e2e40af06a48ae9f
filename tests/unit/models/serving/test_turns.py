"""Models that have something in common take turns: in order, and at nobody's cost but in waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from mira_batch.models.serving import Turns
from mira_batch.models.serving.microbatch import MicroBatcher
from tests.support.models.roles import EDITOR
from tests.unit.models.serving.microbatches import LONG, Model, run


def wait_for_askers(turns: Turns, count: int) -> None:
    until = time.monotonic() + LONG
    while len(turns._asking) < count:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_turns_go_in_the_order_of_asking() -> None:
    turns, order = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    with turns:
        for number, thread in enumerate(threads):
            thread.start()
            wait_for_askers(turns, number + 1)
        with turns:
            assert order == [], "whoever holds it may enter again, and holds it still afterwards"
        assert order == []
    for thread in threads:
        thread.join(LONG)
    assert order == [0, 1, 2, 3, 4]


def test_whoever_asks_again_at_once_goes_behind_who_waits() -> None:
    turns, order = Turns(), list[str]()

    def work(name: str) -> None:
        for _ in range(20):
            with turns:
                order.append(name)

    with turns:
        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        wait_for_askers(turns, 2)
    for thread in threads:
        thread.join(LONG)
    assert len(order) == 40 and all(one != other for one, other in zip(order, order[1:], strict=False))


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns()
    with pytest.raises(ValueError), turns:
        raise ValueError
    ended = threading.Event()

    def take() -> None:
        with turns:
            ended.set()

    threading.Thread(target=take).start()
    assert ended.wait(LONG)


def test_a_replica_that_waits_for_its_turn_has_taken_no_batch_and_counts_no_seconds() -> None:
    model, turns = Model(), Turns()

    async def main() -> MicroBatcher[Any, Any]:
        batching = MicroBatcher(EDITOR, [model], lambda request: 0, 8, turns=[turns])
        turns.__enter__()
        asked = [asyncio.create_task(batching.submit(1))]
        await asyncio.to_thread(wait_for_askers, turns, 1)
        asked += [asyncio.create_task(batching.submit(number)) for number in (2, 3)]
        await asyncio.sleep(0.3)
        turns.__exit__(None, None, None)
        assert [timed.value for timed in await asyncio.gather(*asked)] == [10, 20, 30]
        await batching.close()
        return batching

    batching = run(main())
    assert model.batches == [[1, 2, 3]]
    assert batching.usage["editor"] < 0.2 and batching.usage["editor_waiting"] > 0.8


def test_a_replica_that_waits_for_its_turn_can_be_closed() -> None:
    model, turns = Model(), Turns()

    async def main() -> None:
        batching = MicroBatcher(EDITOR, [model], lambda request: 0, 8, turns=[turns])
        with turns:
            asked = asyncio.create_task(batching.submit(1))
            await asyncio.to_thread(wait_for_askers, turns, 1)
            await batching.close()
            with pytest.raises(asyncio.CancelledError):
                await asked
        await asyncio.to_thread(batching._threads[0].join, LONG)
        assert not batching._threads[0].is_alive()

    run(main())
    assert model.batches == []
