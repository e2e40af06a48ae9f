"""How much fits into memory: learned from calls that ran out of it.

`BatchLimits` remembers per bucket how many requests one call can take. Only running out of memory teaches
it. A limit falls at once and rises slowly, one request at a time, after many calls that used it whole; a
rise that runs out of memory is taken back, and the next one waits twice as long. So a shortage that passes
is forgotten, and one that stays costs ever less.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE = 32
"""Calls at a bucket's limit that must fit before one request more is tried."""
MOST_PATIENCE = 1024
"""Where the doubling of `PATIENCE` ends."""
MOST_BUCKETS = 256
"""Limits remembered; beyond, the one that was of use longest ago is forgotten and learned again."""


@dataclass(slots=True)
class _Learned:
    limit: int
    fitted: int = 0
    """Calls that used the limit whole and fitted, since it last changed."""
    wanted: int = PATIENCE
    """How many of them it takes to raise it."""
    raised: bool = False
    """Whether the limit was last changed by raising it: then one less is known to fit."""


class BatchLimits:
    """How many requests of a bucket a call may take. Holds no lock: its owner has one."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._learned: dict[Hashable, _Learned] = {}
        """Only of buckets that ran out of memory; the one used last is last."""

    def __len__(self) -> int:
        return len(self._learned)

    def limit(self, bucket: Hashable) -> int:
        """The most requests of this bucket that a call may take: from 1 to max_batch."""
        known = self._learned.get(bucket)
        return known.limit if known else self._max_batch

    def record_out_of_memory(self, bucket: Hashable, size: int) -> None:
        """A call of so many requests ran out of memory, and none of them is too large by itself."""
        known = self._learned.pop(bucket, None) or _Learned(self._max_batch)
        self._learned[bucket] = known
        if len(self._learned) > MOST_BUCKETS:
            del self._learned[next(iter(self._learned))]
        if size > known.limit:  # begun before the limit fell, by another replica: nothing new
            return
        if known.raised and size == known.limit:
            known.limit = size - 1
            known.wanted = min(2 * known.wanted, MOST_PATIENCE)
        else:
            known.limit = max(1, size // 2)
        known.fitted, known.raised = 0, False

    def record_fit(self, bucket: Hashable, size: int) -> None:
        """A call of so many requests fitted."""
        known = self._learned.pop(bucket, None)
        if known is None:
            return
        if size >= known.limit:
            known.fitted += 1
        if known.fitted >= known.wanted:
            if known.limit >= self._max_batch:
                return  # as if nothing had ever been
            wanted = PATIENCE if known.raised else known.wanted  # the last rise has stood its test
            known = _Learned(known.limit + 1, wanted=wanted, raised=True)
        self._learned[bucket] = known


class CallsInProgress:
    """The calls that the models of a process are making: any number at once, or one that must run alone.

    A readers-writer lock: whoever runs alone keeps others out, so that it finds all the memory there is.
    Shared by the threads of all models.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._entered = 0
        self._reserved = False

    @contextmanager
    def enter(self, alone: bool = False) -> Iterator[Callable[[], bool]]:
        """Wait until a call may begin, and hold its place inside the block.

        Args:
            alone: wait until no other call is in progress, and let none begin meanwhile.

        Yields:
            A function that tells whether any other call has been in progress meanwhile.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved)
            self._reserved = alone  # none may begin any more; those in progress are waited for
            if alone:
                self._changed.wait_for(lambda: self._inside == 0)
            self._inside += 1
            self._entered += 1
            ticket, met = self._entered, self._inside > 1
        try:
            yield lambda: met or self._entered > ticket
        finally:
            with self._changed:
                self._inside -= 1
                if alone:
                    self._reserved = False
                self._changed.notify_all()
