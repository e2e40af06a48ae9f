"""Which records run at once, in which order, and when their shards are opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mira_batch.runtime.admission import Admission, Hand, choose_records_in_flight


def test_records_in_flight_are_bounded_and_the_oldest_shard_goes_first() -> None:
    async def scenario() -> tuple[int, list[int]]:
        gate, running, most, order, go = Admission(2), 0, 0, [], asyncio.Event()

        async def record(shard: int) -> None:
            nonlocal running, most
            async with gate.enter((shard,)):
                running += 1
                most = max(most, running)
                order.append(shard)
                await go.wait()
                running -= 1

        tasks = [asyncio.create_task(record(shard)) for shard in (9, 9, 5, 3, 4, 3)]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*tasks)
        return most, order

    most, order = asyncio.run(scenario())
    assert most == 2 and order == [9, 9, 3, 3, 4, 5]


def test_a_cancelled_record_gives_its_place_back() -> None:
    async def scenario() -> list[str]:
        gate, done = Admission(1), []

        async def record(name: str) -> None:
            async with gate.enter((0,)):
                await asyncio.sleep(0.01)
                done.append(name)

        tasks = [asyncio.create_task(record(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert asyncio.run(scenario()) == ["a", "c"]


@pytest.mark.parametrize(
    ("configured", "together", "expected"), [(None, 0, 16), (None, 12, 24), (None, 200, 64), (3, 200, 3)]
)
def test_records_in_flight_follow_from_the_models_unless_they_are_set(
    configured: int | None, together: int, expected: int
) -> None:
    assert choose_records_in_flight(configured, together) == expected


def test_shards_are_opened_in_order_as_their_records_are_about_to_be_needed() -> None:
    """Large ones one at a time, small ones side by side; four records are enough."""

    async def scenario() -> list[list[int]]:
        hand, ends, opened = Hand(4), list[Callable[[], None]](), list[int]()
        leave = asyncio.Event()

        async def run_shard(shard: int, records: int) -> None:
            async with hand.enter(shard, records) as end_record:
                opened.append(shard)
                ends.extend([end_record] * (records - 1))  # the last is left by the shard itself
                await leave.wait()

        tasks = [asyncio.create_task(run_shard(*one)) for one in enumerate((6, 4, 1, 1, 1))]
        await asyncio.sleep(0)
        tasks[2].cancel()
        seen = [list(opened)]
        while ends:
            ends.pop(0)()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(list(opened))
        leave.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [*seen, opened]

    first, *seen = asyncio.run(scenario())
    assert first == [0] and seen[:5] == [[0], [0], [0, 1], [0, 1], [0, 1]], "opened with three records left"
    assert seen[5:] == [[0, 1], [0, 1, 3], [0, 1, 3, 4], [0, 1, 3, 4]], "and small ones as each record ends"


def test_who_comes_alone_runs_alone_and_nobody_overtakes() -> None:
    async def scenario() -> list[tuple[str, int]]:
        gate, running, seen = Admission(3), 0, []

        async def record(name: str, priority: int, alone: bool = False) -> None:
            nonlocal running
            async with gate.enter((priority,), alone):
                running += 1
                seen.append((name, running))
                for _ in range(3):
                    await asyncio.sleep(0)
                    assert not alone or running == 1
                running -= 1

        early = [asyncio.create_task(record(f"early-{i}", 0)) for i in range(3)]
        await asyncio.sleep(0)
        late = [record("alone", 1, alone=True), *(record(f"late-{i}", 2) for i in range(3))]
        await asyncio.gather(*early, *late)
        return seen

    seen = asyncio.run(scenario())
    assert [name for name, _ in seen] == [
        *(f"early-{i}" for i in range(3)),
        "alone",
        *(f"late-{i}" for i in range(3)),
    ]
    assert dict(seen)["alone"] == 1


def test_one_that_waits_alone_and_is_cancelled_lets_the_others_in() -> None:
    async def scenario() -> list[str]:
        gate, done, go = Admission(2), [], asyncio.Event()

        async def record(name: str, alone: bool = False) -> None:
            async with gate.enter((0,), alone):
                done.append(name)
                await go.wait()

        tasks = [asyncio.create_task(record("first")), asyncio.create_task(record("alone", alone=True))]
        tasks.append(asyncio.create_task(record("second")))
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        before = list(done)
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return before

    assert asyncio.run(scenario()) == ["first", "second"]
