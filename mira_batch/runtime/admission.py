"""How many records run at once in a worker, and in which order they start."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Admission:
    """Admits so many at a time; of those waiting, the smallest priority first (the oldest shard).

    Who comes `alone` waits until all have left, and nobody enters before it has left again.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = places
        self._closed = False
        self._order = itertools.count()
        self._waiting: list[tuple[tuple[int, ...], int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def enter(self, priority: tuple[int, ...], alone: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside; `alone` waits for all of them."""
        places = self._places if alone else 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), places, future))
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # admitted and cancelled in the same moment
                self._leave(places)
            else:
                self._admit()  # it may have been the head that kept others waiting
            raise
        try:
            yield
        finally:
            self._leave(places)

    def close(self) -> None:
        """Admit nobody any more: the process is about to leave. Who waits goes on waiting."""
        self._closed = True

    def _admit(self) -> None:
        while self._waiting and not self._closed:
            _, _, places, future = self._waiting[0]
            if not future.done():
                if places > self._free:
                    return  # nobody overtakes, or one that comes alone might wait for ever
                self._free -= places
                future.set_result(None)
            heapq.heappop(self._waiting)

    def _leave(self, places: int) -> None:
        self._free += places
        self._admit()


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
