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


class Endpoint:
    """Takes so many calls at once and refuses what comes beyond these at once, or all while it is away."""

    def __init__(self, limiter: ConcurrencyLimiter, takes: int, callers: int) -> None:
        self.takes, self.away, self.inside, self.most = takes, False, 0, 0
        self.refused = 0
        self.answers = asyncio.Event()
        self._limiter = limiter
        self._callers = [asyncio.create_task(self._call()) for _ in range(callers)]

    async def _call(self) -> None:
        while True:
            async with self._limiter.acquire(()) as began:
                if self.away or self.inside >= self.takes:
                    self.refused += 1
                    pause = self._limiter.record_busy(began, None)
                else:
                    self.inside += 1
                    self.most = max(self.most, self.inside)
                    await self.answers.wait()
                    self.inside -= 1
                    self._limiter.record_answer(began)
                    return
            await asyncio.sleep(pause or 0.01)

    async def close(self) -> None:
        for task in self._callers:
            task.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        self._limiter.close()


def test_a_call_that_is_taken_opens_the_window_before_it_is_answered() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(16, first_backoff=0.01)
        endpoint = Endpoint(limiter, takes=16, callers=40)
        endpoint.away = True
        await settled(lambda: endpoint.refused >= 10)
        assert limiter._allowed == 1
        endpoint.away = False
        await settled(lambda: endpoint.inside == 16)
        assert not endpoint.answers.is_set()
        await endpoint.close()

    run(main())


def test_what_came_back_with_less_is_not_flooded() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(64, first_backoff=0.01)
        endpoint = Endpoint(limiter, takes=64, callers=200)
        endpoint.away = True
        await settled(lambda: endpoint.refused >= 10)
        endpoint.away, endpoint.takes, endpoint.refused = False, 10, 0
        await settled(lambda: limiter._taken is None and endpoint.inside == 10)
        assert limiter._window == limiter._allowed <= 10
        assert endpoint.refused < AWAY, "so it doesn't seem to be away again"
        await endpoint.close()

    run(main())


def test_an_endpoint_that_refuses_slowly_is_waited_for_as_long() -> None:
    async def main() -> None:
        limiter, now = ConcurrencyLimiter(16, first_backoff=0.0), time.monotonic()
        limiter._last_pause = now - 100.0
        for _ in range(AWAY):
            limiter.record_busy(now - 30.0, None)
        async with limiter.acquire(()):
            assert limiter._taken is not None
            waits = limiter._taken.when() - asyncio.get_running_loop().time()
            assert 59.0 < waits <= 60.1
        limiter.close()

    run(main())


def test_calls_still_in_flight_from_before_hold_up_no_trial() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(32, first_backoff=0.01)
        endpoint = Endpoint(limiter, takes=5, callers=60)
        await settled(lambda: endpoint.inside == 5 and limiter._pauses > 1)  # 5 at work, others refused
        endpoint.takes = 8
        await settled(lambda: endpoint.inside == 8)
        assert endpoint.most == 8 and not endpoint.answers.is_set()
        await endpoint.close()

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
