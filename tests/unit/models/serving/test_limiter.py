"""How many calls are let in, and the pauses between them."""

from __future__ import annotations

import asyncio
import time

import pytest

import mira_batch.models.serving.limiter as limiter_module
from mira_batch.models.serving.limiter import (
    AWAY,
    BUSY_DOUBLINGS,
    DOUBLINGS,
    ConcurrencyLimiter,
    draw_backoff,
)
from tests.unit.models.serving.endpoints import run, settled


def test_after_a_storm_half_as_many_calls_are_let_in_and_one_more_for_each_answer() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(8, first_backoff=0.001)
        inside: list[asyncio.Event] = []

        async def caller() -> None:
            async with limiter.acquire(()):
                inside.append(asyncio.Event())
                await inside[-1].wait()

        callers = [asyncio.create_task(caller()) for _ in range(30)]
        await settled(lambda: len(inside) == 8)
        began = time.monotonic()
        for event in inside:  # all are refused by the same storm
            limiter.record_busy(began, 0.0)
            event.set()
        await settled(lambda: len(inside) == 12)
        await asyncio.sleep(0.02)
        assert len(inside) == 12
        answer(limiter)
        await settled(lambda: len(inside) == 13)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        limiter.close()

    run(main())


def refuse(limiter: ConcurrencyLimiter) -> float:
    return limiter.record_busy(time.monotonic(), None)


def answer(limiter: ConcurrencyLimiter) -> None:
    limiter.record_answer(time.monotonic())


def test_refusals_by_chance_stop_nobody_and_close_no_slot() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(64)
        for _ in range(200):
            assert refuse(limiter) == 0
            for _ in range(19):
                answer(limiter)
        assert limiter._allowed >= 63

    run(main())


def test_as_many_are_let_in_as_the_endpoint_takes_at_once() -> None:
    """It takes 16, and refuses whatever comes beyond these; a slot that is free is taken at once."""

    async def main() -> None:
        limiter, taken, refused = ConcurrencyLimiter(64), 0, list[int]()
        for _ in range(3000):
            refused.append(0)
            while taken < limiter._allowed:
                if taken < 16:
                    taken += 1
                else:
                    refuse(limiter)
                    refused[-1] += 1
            taken -= 1
            answer(limiter)
        assert 16 <= limiter._allowed <= 17
        assert sum(refused[:200]) < 150 and sum(refused[-1000:]) <= 100

    run(main())


def test_of_an_endpoint_that_is_away_one_call_is_made_after_each_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limiter_module, "_SOONEST", 60.0)  # so that none counts as taken

    async def main() -> None:
        limiter = ConcurrencyLimiter(16, first_backoff=0.001)
        inside: list[asyncio.Event] = []

        async def caller() -> None:
            async with limiter.acquire(()):
                inside.append(asyncio.Event())
                await inside[-1].wait()

        callers = [asyncio.create_task(caller()) for _ in range(60)]
        await settled(lambda: len(inside) == 16)
        began = time.monotonic()
        for event in inside:
            limiter.record_busy(began, None)
            event.set()
        for number in (17, 18, 19):
            await settled(lambda number=number: len(inside) == number)
            await asyncio.sleep(0.02)
            assert len(inside) == number, "the others wait for what becomes of it"
            if number < 19:
                refuse(limiter)
                inside[-1].set()
        # The first answer opens half of the window; each further one leaves its slot, and opens one more.
        for number in (27, 29, 31):
            answer(limiter)
            inside[-1].set()
            await settled(lambda number=number: len(inside) == number)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        limiter.close()

    run(main())


def test_an_endpoint_that_goes_away_again_is_tried_with_half_as_much() -> None:
    async def main() -> None:
        limiter, opened = ConcurrencyLimiter(64, first_backoff=1.0), list[int]()
        for _ in range(7):
            while not refuse(limiter):
                pass
            limiter._paused_until = 0.0
            answer(limiter)
            opened.append(limiter._allowed)
        assert opened[:5] == [32, 16, 8, 4, 2] and max(opened[5:]) <= 2

    run(main())


def test_calls_that_fail_while_it_is_tried_do_not_lower_what_is_tried_next() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(64, first_backoff=0.0)
        for _ in range(100):  # a long outage
            refuse(limiter)
        answer(limiter)
        assert limiter._allowed == 32
        for _ in range(31):
            answer(limiter)
        assert limiter._allowed == 63

    run(main())


def test_an_answer_to_a_call_from_before_the_outage_does_not_open_the_window() -> None:
    async def main() -> None:
        limiter, earlier = ConcurrencyLimiter(64, first_backoff=1.0), time.monotonic()
        while not refuse(limiter):
            pass
        limiter.record_answer(earlier)
        assert limiter._allowed == 1
        answer(limiter)
        assert limiter._allowed == 32

    run(main())


def test_one_that_asks_to_be_left_alone_while_it_is_tried_is_opened_call_by_call() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(64, first_backoff=1.0)
        while not refuse(limiter):
            pass
        limiter.record_busy(time.monotonic(), 1.0)
        answer(limiter)
        assert limiter._allowed == 2

    run(main())


def test_pauses_grow_while_there_is_no_answer() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(4, first_backoff=1.0)
        assert [refuse(limiter) for _ in range(AWAY - 1)] == [0.0] * (AWAY - 1)
        waits = []
        for _ in range(BUSY_DOUBLINGS + 3):
            waits.append(refuse(limiter))
            limiter._paused_until = 0.0
        assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits[: BUSY_DOUBLINGS + 1]))
        assert max(waits) <= 2**BUSY_DOUBLINGS
        answer(limiter)
        assert refuse(limiter) == 0

    run(main())


def test_all_the_refusals_of_one_storm_count_once() -> None:
    async def main() -> None:
        limiter, began = ConcurrencyLimiter(64, first_backoff=1.0), time.monotonic()
        assert max(limiter.record_busy(began, None) for _ in range(64)) <= 1.0
        limiter._paused_until = 0.0
        assert refuse(limiter) <= 2.0

    run(main())


def test_backoff_doubles_to_its_cap_and_is_jittered() -> None:
    assert all(0.5 <= draw_backoff(1.0, 1) <= 1.0 for _ in range(100))
    assert len({draw_backoff(1.0, 3) for _ in range(20)}) > 1
    assert draw_backoff(1.0, 1000) <= 2**DOUBLINGS


def test_a_turn_given_to_a_caller_that_is_cancelled_meanwhile_is_given_on() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(1)
        begun: list[str] = []

        async def caller(name: str, go: asyncio.Event) -> None:
            async with limiter.acquire(()):
                begun.append(name)
                await go.wait()

        go = asyncio.Event()
        first, second, third = (asyncio.create_task(caller(name, go)) for name in "abc")
        await settled(lambda: begun == ["a"])
        first.cancel()
        await asyncio.sleep(0)  # a leaves: the turn is b's, who has not run yet
        second.cancel()
        await settled(lambda: "c" in begun)
        go.set()
        await third
        assert begun == ["a", "c"]

    run(main())
