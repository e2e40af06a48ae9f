"""Which shards of a run are committed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from mira_batch.storage.run.layout import shard_of
from mira_batch.storage.stores import Store


def find_committed_shards(store: Store) -> dict[int, int]:
    """Shards whose result file exists, and its size in bytes: one LIST."""
    found = ((shard_of(entry.key), entry.size) for entry in store.list("results"))
    return {shard: size for shard, size in found if shard is not None}


def find_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers, sorted, as (first, last) of each run without a gap."""
    ordered = sorted(numbers)
    if not ordered:
        return []
    breaks = [i for i, (a, b) in enumerate(pairwise(ordered), start=1) if b != a + 1]
    starts, ends = [0, *breaks], [*breaks, len(ordered)]
    return [(ordered[start], ordered[end - 1]) for start, end in zip(starts, ends, strict=True)]
