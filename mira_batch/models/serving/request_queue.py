"""What waits for a model, and which of it goes into the next call: decisions alone, no threads, no clock.

The micro-batcher feeds a model by it, and `benchmarks/simulate.py` works out a worker's batches by it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mira_batch.models.serving.batch_limits import BatchLimits

T = TypeVar("T")


@dataclass(order=True, slots=True)
class _Entry(Generic[T]):
    priority: tuple[int, ...]
    order: int
    bucket: Hashable = field(compare=False)
    request: T = field(compare=False)


class RequestQueue(Generic[T]):
    """Requests in order of urgency. Holds no lock: its owner has one."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: list[_Entry[T]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, priority: tuple[int, ...], bucket: Hashable, request: T) -> None:
        """Take in a request.

        Args:
            priority: smaller goes first; of equals, who came first.
            bucket: only requests of equal buckets share a call.
            request: whatever is to be handed out by `take`.
        """
        heapq.heappush(self._entries, _Entry(priority, next(self._order), bucket, request))

    def take(self, is_gone: Callable[[T], bool]) -> list[T]:
        """The most urgent request and those that may share its call, in order of urgency, up to the limit of
        their bucket; nothing where none waits.

        Args:
            is_gone: whether nobody waits for the answer any more; such a request is dropped.
        """
        batch: list[_Entry[T]] = []
        passed: list[_Entry[T]] = []
        most = 1
        while self._entries and len(batch) < most:
            entry = heapq.heappop(self._entries)
            if is_gone(entry.request):
                continue
            if not batch:
                most = self._limits.limit(entry.bucket)
            (batch if not batch or entry.bucket == batch[0].bucket else passed).append(entry)
        for entry in passed:
            heapq.heappush(self._entries, entry)
        return [entry.request for entry in batch]

    def clear(self) -> list[T]:
        """Everything that waits, in no order; afterwards nothing does."""
        requests = [entry.request for entry in self._entries]
        self._entries.clear()
        return requests
