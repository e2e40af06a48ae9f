"""A concurrency limiter: which call of an endpoint may begin next, how many at once, how often.

Owns the slots, the pace and the pauses of one endpoint; what a call is and what its faults mean are
`endpoint.py`'s. Slots go to the most urgent.

A call that is refused since the endpoint is busy leaves its slot to another, and one call fewer is let in at
once; every ten answers let one more in, and after a round without a refusal each does. So the window settles
where at most one call in ten is refused, and refusals that come by chance, fewer than that, cost nothing.
An endpoint that refuses eight calls in a row is away: all calls stop, after a pause a single one is let in,
and so on until one is taken. One that is out twice as long as any refusal took has been taken: from then on
four more are let in every time that as much goes by again, until most of four are refused: it takes no more
than are in flight then, and since these may hang, four more are tried after half a minute without an answer.
So the window is open long before a model that takes half a minute has answered. The first answer opens half
of it at once, and each further one lets one more in. One that is answered and goes away again before that has
come back with less, so the next time it is tried with half as much. One that asks to be left alone is left
alone.
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
"""Back-off after calls that broke doubles so often: from 1 s to 32 s."""
BUSY_DOUBLINGS = 1
"""After calls that were refused, to 2 s: one call at a time hurts nobody, and finds soon that all is well."""
ANSWERS = 10
"""So many answers widen the window by a call."""
AWAY = 8
"""An endpoint that refuses so many calls without an answer between them is away."""
FURTHER = AWAY // 2
"""So many calls more are let in at a time after one that was taken: were all refused, it wouldn't be away."""
_SOONEST = 0.05
"""Seconds before a call counts as taken, where refusals come sooner than half of that."""
_REST = 30.0
"""Seconds until further calls are tried again after most were refused, should none of the others be answered:
long enough not to pester an endpoint that is merely full."""


def draw_backoff(first: float, nth: int, doublings: int = DOUBLINGS) -> float:
    """Seconds to wait after a fault: `first` doubled for each one before it, half of it drawn.

    Args:
        first: seconds after the first.
        nth: which fault in a row it is, from 1.
        doublings: how often it is doubled at most.
    """
    return first * 2.0 ** min(nth - 1, doublings) * random.uniform(0.5, 1.0)


@dataclass(order=True, slots=True)
class _Waiting:
    priority: tuple[int, ...]
    order: int
    slot: asyncio.Future[float] = field(compare=False)
    """When it was given (`time.monotonic()`)."""


class ConcurrencyLimiter:
    """Gives slots for calls, on one event loop."""

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
        self._window = most
        """What the endpoint seems to take at once."""
        self._before = most
        """The window when all was well last: before refusals that came with hardly an answer between them."""
        self._allowed = most
        """What is let in: the window, or less after a pause."""
        self._answers = 0
        """Since the window grew."""
        self._clean = 0
        """Answers since the last refusal."""
        self._refusals = 0
        """Since the last answer."""
        self._slowest = 0.0
        """Seconds of the slowest of them."""
        self._inside = 0
        self._earlier = 0
        """Of these the calls that were in flight when the endpoint went away: they hold up no trial."""
        self._waiting: list[_Waiting] = []
        self._order = itertools.count()
        self._next = 0.0
        """When the pace allows the next call."""
        self._paused_until = 0.0
        self._tries = False
        """Whether a single call is to find out if the endpoint is there again."""
        self._opens = False
        """Whether it was, and the window is not yet as wide as it had been."""
        self._pauses = 0
        """Pauses in a row, without an answer between them."""
        self._last_pause = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._taken: asyncio.TimerHandle | None = None
        """When those let in last count as taken, or further ones are tried again."""

    @asynccontextmanager
    async def acquire(self, priority: tuple[int, ...]) -> AsyncIterator[float]:
        """Wait for a slot, and hold it inside the block. Yields when it was given (`time.monotonic()`)."""
        slot: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiting(priority, next(self._order), slot))
        self._admit()
        try:
            given = await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():  # given, but its task was cancelled before it ran
                self._leave(slot.result())
            raise
        try:
            yield given
        finally:
            self._leave(given)

    def record_answer(self, began: float) -> None:
        """A call was answered: the endpoint is well, and in time more may be in flight.

        While a single call tries whether it is there again, one that began before says nothing of that.

        Args:
            began: when that call began (`time.monotonic()`).
        """
        if self._tries and began <= self._last_pause:
            return
        self._pauses = self._refusals = 0
        self._slowest = 0.0
        self._clean += 1
        if self._allowed < self._window:
            opened = self._window // 2 if self._tries else 0
            self._allowed = max(self._allowed + 1, opened)
            self._tries, self._opens = False, self._opens or self._tries
        else:
            self._tries = self._opens = False
            self._answers += 1
            if self._answers >= ANSWERS or self._clean > self._window:
                self._answers = 0
                self._window = self._allowed = min(self._most, self._window + 1)
        self._admit()

    def record_busy(self, began: float, asked: float | None) -> float:
        """A call was refused since the endpoint is busy: let fewer in, or none for a while.

        Calls that were in flight together when a pause began count no more.

        Args:
            began: when that call began (`time.monotonic()`).
            asked: the seconds that the endpoint wants to be left alone; None where it doesn't say.

        Returns:
            The seconds until calls are let in again; 0 where none was stopped.
        """
        now = time.monotonic()
        if began > self._last_pause:
            self._refusals += 1
            self._slowest = max(self._slowest, now - began)
            if self._clean >= AWAY:
                self._before = self._window
            self._clean = 0
            self._window = max(1, self._window - 1)
            self._allowed = max(1, self._allowed - 1)
            if asked is not None or self._refusals >= AWAY:
                self._last_pause = now
                self._pauses += 1
                self._forget_trial()
                if asked is not None:
                    wait, self._allowed, self._earlier = asked, max(1, self._inside // 2), 0
                    self._tries = self._opens = False
                else:
                    if self._opens and self._pauses == 1:  # what merely seemed taken proves nothing
                        self._before = max(1, self._before // 2)
                    wait, self._allowed = draw_backoff(self._first, self._pauses, BUSY_DOUBLINGS), 1
                    self._window, self._tries, self._opens = self._before, True, False
                    self._earlier = self._inside
                self._paused_until = max(self._paused_until, now + wait)
        elif asked is not None:
            self._paused_until = max(self._paused_until, now + asked)
        return max(0.0, self._paused_until - now)

    def close(self) -> None:
        """Give no slot any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._forget_trial()
        self._waiting.clear()

    def _limit(self) -> int:
        """So many may be in flight now."""
        one_more = self._earlier + 1  # a trial has room even where more were in flight than the window holds
        return min(self._most, max(self._window, one_more), self._earlier + self._allowed)

    def _come_back(self, wait: float, rested: bool = False) -> None:
        """Let further calls in after so many seconds, instead of when that was to be before."""
        self._forget_trial()
        self._taken = asyncio.get_running_loop().call_later(wait, self._let_further_in, rested)

    def _forget_trial(self) -> None:
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None

    def _let_further_in(self, rested: bool) -> None:
        """Calls are out for longer than a refusal takes: the endpoint is there again, and may take more.

        Args:
            rested: whether that is tried once more, after most of those that were let in had been refused.
        """
        self._taken = None
        if not self._tries:  # an answer has opened the window
            return
        if self._inside < self._limit():  # some broke or were cancelled; `_admit` comes back once it is full
            return
        if self._opens and not rested and 4 * self._refusals >= 3 * FURTHER:
            # It takes no more than these. Should they hang, nobody would be answered, so it is tried again.
            self._window = self._allowed = max(1, self._inside)
            self._earlier = 0
            self._come_back(_REST, rested=True)
            return
        self._opens, self._refusals = True, 0
        if rested:
            self._window = max(self._window, self._before)
        self._allowed = min(self._window, self._allowed + FURTHER)
        self._admit()

    def _leave(self, given: float) -> None:
        self._inside -= 1
        if self._earlier and given <= self._last_pause:
            self._earlier -= 1
        self._admit()

    def _admit(self) -> None:
        """Give slots to those that may have one now, and come back when the next may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._inside < self._limit():
            if self._waiting[0].slot.done():  # cancelled while it waited
                heapq.heappop(self._waiting)
                continue
            now = time.monotonic()
            wait = max(self._next, self._paused_until) - now
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._next = max(self._next, now) + self._every
            self._inside += 1
            heapq.heappop(self._waiting).slot.set_result(now)
            if self._tries and self._inside >= self._limit():  # no sooner: the pace may hold some up
                self._come_back(max(2.0 * self._slowest, _SOONEST))
