"""Who may call an endpoint next: the most urgent, not too many at once, not too often, not in a storm.

Owns the places, the pace and the pauses of one endpoint; what a call is and what its faults mean are
`endpoint.py`'s. An endpoint that is too busy closes the way for everybody for a while, each time for longer,
and then lets in half as many calls as before, one more after each answer, as TCP does with its window.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

DOUBLINGS = 5
"""Back-off doubles so often: from 1 s to 32 s."""


def backoff(first: float, nth: int) -> float:
    """Seconds to wait after the nth fault in a row, n from 1: `first` doubled each time, half of it drawn."""
    return first * 2.0 ** min(nth - 1, DOUBLINGS) * random.uniform(0.5, 1.0)


@dataclass(order=True, slots=True)
class _Waiting:
    priority: tuple[int, ...]
    order: int
    turn: asyncio.Future[None] = field(compare=False)


class Turns:
    """Gives turns out on one event loop."""

    def __init__(self, most: int, per_minute: float | None = None, first_backoff: float = 1.0) -> None:
        """
        Args:
            most: the most calls in flight.
            per_minute: the most calls begun in a minute, evenly spread; None sets no limit.
            first_backoff: seconds of the first pause.
        """
        self._most = most
        self._every = 60.0 / per_minute if per_minute else 0.0
        self._first = first_backoff
        self._allowed = most
        self._inside = 0
        self._waiting: list[_Waiting] = []
        self._order = itertools.count()
        self._next = 0.0
        """When the pace allows the next call."""
        self._closed_until = 0.0
        self._storms = 0
        """Pauses in a row, without an answer between them."""
        self._last_storm = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self, priority: tuple[int, ...]) -> AsyncIterator[float]:
        """Wait for a turn, and hold it inside. Gives the time at which it began."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiting(priority, next(self._order), turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given, but its task was cancelled before it ran
                self._leave()
            raise
        try:
            yield time.monotonic()
        finally:
            self._leave()

    def answered(self) -> None:
        """A call was answered: the endpoint is well."""
        self._storms = 0
        self._allowed = min(self._most, self._allowed + 1)
        self._admit()

    def too_busy(self, began: float, asked: float | None) -> float:
        """A call that began then was refused since the endpoint is busy. `asked` are the seconds the endpoint
        wants to be left alone. Returns the seconds until calls are let in again.

        Calls refused by the same storm close the way once only.
        """
        now = time.monotonic()
        if began > self._last_storm:
            self._last_storm = now
            self._storms += 1
            self._allowed = max(1, self._inside // 2)
        wait = backoff(self._first, self._storms) if asked is None else asked
        if asked is not None or self._closed_until <= now:
            self._closed_until = max(self._closed_until, now + wait)
        return max(0.0, self._closed_until - now)

    def close(self) -> None:
        """Give no turn any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        """Give turns to those that may have one now, and come back when the next may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._inside < self._allowed:
            if self._waiting[0].turn.done():  # cancelled while it waited
                heapq.heappop(self._waiting)
                continue
            now = time.monotonic()
            wait = max(self._next, self._closed_until) - now
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._next = max(self._next, now) + self._every
            self._inside += 1
            heapq.heappop(self._waiting).turn.set_result(None)
