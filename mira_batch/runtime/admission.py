"""How many records run at once in a worker, in which order they start, and when their shards are opened."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")

FEWEST, MOST = 16, 64
"""Bounds of the records in flight where they are not set: each has images and steps in memory."""


def choose_records_in_flight(configured: int | None, requests_together: int) -> int:
    """How many records a worker runs at once.

    Where that is not set: twice what the calls of its models take together. While one half is in calls the
    other half waits for the next ones, so that these are full, whichever model is the slower one
    (`benchmarks/simulate.py`).

    Args:
        configured: `workers.records_in_flight`.
        requests_together: the most requests that calls of all its models take at the same time.
    """
    return configured or max(FEWEST, min(2 * requests_together, MOST))


class Places(Generic[T]):
    """So many places, and who waits for them: decisions alone, which `Admission` and `Hand` carry out, and
    `benchmarks/simulate.py` works with.

    Of those waiting the smallest priority goes first, and nobody overtakes.
    """

    def __init__(self, places: int, overdraw: bool = False) -> None:
        """
        Args:
            places: how many there are.
            overdraw: whether one place is enough to enter with, however many are wanted.
        """
        self.all = places
        self._free = places
        self._overdraw = overdraw
        self._order = itertools.count()
        self._waiting: list[tuple[tuple[int, ...], int, int, T]] = []

    def ask(self, priority: tuple[int, ...], places: int, who: T) -> None:
        """Line up.

        Args:
            priority: smaller goes first; of equals, who came first.
            places: how many are wanted.
            who: handed out by `admit`.
        """
        heapq.heappush(self._waiting, (priority, next(self._order), places, who))

    def admit(self, is_gone: Callable[[T], bool]) -> Iterator[T]:
        """Give places away as far as they go.

        Args:
            is_gone: whether one in the line has given up, and is passed over.
        """
        while self._waiting:
            _, _, places, who = self._waiting[0]
            gone = is_gone(who)
            if not gone and (1 if self._overdraw else places) > self._free:
                return  # nobody overtakes, or one that comes alone might wait for ever
            heapq.heappop(self._waiting)
            if not gone:
                self._free -= places
                yield who

    def leave(self, places: int) -> None:
        """Take places back.

        Args:
            places: how many of those that were given away.
        """
        self._free += places


class _Line:
    """Coroutines that wait for places."""

    def __init__(self, places: Places[asyncio.Future[None]]) -> None:
        self._places = places
        self._closed = False

    async def _wait(self, priority: tuple[int, ...], places: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._places.ask(priority, places, future)
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # admitted and cancelled in the same moment
                self._leave(places)
            else:
                self._admit()  # it may have been the head that kept others waiting
            raise

    def close(self) -> None:
        """Admit nobody any more: the process is about to leave. Who waits goes on waiting."""
        self._closed = True

    def _admit(self) -> None:
        if not self._closed:
            for future in self._places.admit(lambda future: future.done()):
                future.set_result(None)

    def _leave(self, places: int) -> None:
        self._places.leave(places)
        self._admit()


class Admission(_Line):
    """Admits so many records at a time; of those waiting, the smallest priority first (the oldest shard).

    Who comes `alone` waits until all have left, and nobody enters before it has left again.
    """

    def __init__(self, places: int) -> None:
        super().__init__(Places(places))

    @asynccontextmanager
    async def enter(self, priority: tuple[int, ...], alone: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside; `alone` waits for all of them."""
        places = self._places.all if alone else 1
        await self._wait(priority, places)
        try:
            yield
        finally:
            self._leave(places)


class Hand(_Line):
    """The shards that a worker has open. The next one is opened when fewer records than `enough` are left
    of those, in order: small shards many at a time, large ones few, so that a worker's death touches few."""

    def __init__(self, enough: int) -> None:
        super().__init__(Places(enough, overdraw=True))

    @asynccontextmanager
    async def enter(self, shard: int, records: int) -> AsyncIterator[Callable[[], None]]:
        """Wait until a shard is to be opened, which is left inside.

        Yields what is to be called when one of its records has ended.
        """
        await self._wait((shard,), records)
        left = records

        def end_record() -> None:
            nonlocal left
            left -= 1
            self._leave(1)

        try:
            yield end_record
        finally:
            self._leave(left)


async def gather_or_cancel(coroutines: list[Any]) -> list[Any]:
    """The results in order; the first error cancels the rest and is raised bare.

    Raises: whatever the first of them that fails raised.
    """
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
