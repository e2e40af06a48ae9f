"""What is let in once an endpoint that was away takes a call again."""

from __future__ import annotations

import asyncio
import time

import pytest

import mira_batch.models.serving.limiter as limiter_module
from mira_batch.models.serving.limiter import AWAY, FURTHER, ConcurrencyLimiter
from tests.unit.models.serving.endpoints import run, settled


def refuse(limiter: ConcurrencyLimiter) -> float:
    return limiter.record_busy(time.monotonic(), None)


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
        await settled(lambda: limiter._window == limiter._allowed and endpoint.inside == 10)
        assert limiter._window == 10
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


def test_what_takes_no_more_keeps_room_for_those_in_flight_from_before() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(32, first_backoff=0.01)
        endpoint = Endpoint(limiter, takes=5, callers=60)
        await settled(lambda: endpoint.inside == 5 and limiter._pauses > 1)  # 5 at work, others refused
        endpoint.takes = 6
        await settled(lambda: limiter._window == limiter._allowed)
        assert limiter._limit() == endpoint.inside == 6, "when one of the five ends, another takes its place"
        await endpoint.close()

    run(main())


def test_a_call_that_hangs_while_others_are_refused_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limiter_module, "_REST", 0.1)

    async def main() -> None:
        limiter = ConcurrencyLimiter(16, first_backoff=0.01)
        endpoint = Endpoint(limiter, takes=16, callers=40)
        endpoint.away = True
        await settled(lambda: endpoint.refused >= 10)
        endpoint.away, endpoint.takes = False, 1
        await settled(lambda: limiter._window == limiter._allowed == 1)
        endpoint.takes = 16
        await settled(lambda: endpoint.inside == 16)
        assert not endpoint.answers.is_set()
        await endpoint.close()

    run(main())


def test_calls_that_hang_leave_room_for_a_trial_where_little_was_taken_before() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(16, first_backoff=0.001)
        limiter._before = 2
        endpoint = Endpoint(limiter, takes=4, callers=8)
        await settled(lambda: endpoint.inside == 4 and limiter._pauses > 1)
        assert limiter._window == 2
        endpoint.takes = 5
        await settled(lambda: endpoint.inside == 5)
        await endpoint.close()

    run(main())


def test_a_trial_that_broke_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "_SOONEST", 0.001)

    async def main() -> None:
        limiter = ConcurrencyLimiter(16, first_backoff=0.0)
        for _ in range(AWAY):
            refuse(limiter)
        async with limiter.acquire(()):
            assert limiter._taken is not None
        await settled(lambda: limiter._taken is None)
        assert limiter._allowed == 1 and not limiter._opens
        limiter.close()

    run(main())


def test_no_more_are_let_in_until_the_pace_has_begun_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "_SOONEST", 0.001)

    async def main() -> None:
        limiter, going = ConcurrencyLimiter(16, per_minute=1.0, first_backoff=0.0), asyncio.Event()

        async def caller() -> None:
            async with limiter.acquire(()):
                await going.wait()

        for _ in range(AWAY):
            refuse(limiter)
        callers = [asyncio.create_task(caller()) for _ in range(16)]
        await settled(lambda: limiter._opens)
        assert limiter._inside == 1 and limiter._taken is None
        assert limiter._allowed == 1 + FURTHER
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        limiter.close()

    run(main())


def test_refusals_that_come_late_do_not_lower_what_is_tried_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "_SOONEST", 0.001)

    async def main() -> None:
        limiter = ConcurrencyLimiter(64, first_backoff=0.0)
        for _ in range(AWAY):
            refuse(limiter)
        async with limiter.acquire(()):
            await settled(lambda: limiter._opens)
            for _ in range(AWAY):  # it only seemed taken
                refuse(limiter)
        assert limiter._allowed == 1
        limiter.record_answer(time.monotonic())
        assert limiter._allowed == 32
        limiter.close()

    run(main())
