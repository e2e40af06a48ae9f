"""What waits for a model, and which of it goes into the next call: decisions alone, no threads, no clock.

The micro-batcher feeds a model by it, and `benchmarks/simulate.py` works out a worker's batches by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mira_batch.models.serving.batch_limits import BatchLimits

T = TypeVar("T")

PASSES = 4
"""Calls before which the most urgent request may be passed over, so that they are full."""


@dataclass(order=True, slots=True)
class _Entry(Generic[T]):
    priority: tuple[int, ...]
    order: int
    bucket: Hashable = field(compare=False)
    request: T = field(compare=False)
    passed: int = field(default=0, compare=False)


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
        self._entries.append(_Entry(priority, next(self._order), bucket, request))

    def take(self, is_gone: Callable[[T], bool]) -> list[T]:
        """What goes into the next call, in order of urgency; nothing where nothing waits.

        That is the most urgent request with those of its bucket, up to the bucket's limit. Where these are
        too few and another bucket fills a call, the other goes first; but no request is passed over like that
        more than `PASSES` times.

        Args:
            is_gone: whether nobody waits for the answer any more; such a request is dropped.
        """
        self._entries = sorted(entry for entry in self._entries if not is_gone(entry.request))
        if not self._entries:
            return []
        buckets: dict[Hashable, list[_Entry[T]]] = {}
        for entry in self._entries:
            buckets.setdefault(entry.bucket, []).append(entry)
        chosen = self._choose(list(buckets.values()))
        batch = chosen[: self._limits.limit(chosen[0].bucket)]
        taken = {entry.order for entry in batch}
        self._entries = [entry for entry in self._entries if entry.order not in taken]
        return [entry.request for entry in batch]

    def clear(self) -> list[T]:
        """Everything that waits, in no order; afterwards nothing does."""
        requests = [entry.request for entry in self._entries]
        self._entries.clear()
        return requests

    def _choose(self, buckets: list[list[_Entry[T]]]) -> list[_Entry[T]]:
        """The bucket that is served, of all in the order of their most urgent requests."""
        first, *others = buckets
        if not self._fills(first) and first[0].passed < PASSES:
            for bucket in others:
                if self._fills(bucket):
                    first[0].passed += 1
                    return bucket
        return first

    def _fills(self, bucket: list[_Entry[T]]) -> bool:
        return len(bucket) >= self._limits.limit(bucket[0].bucket)
