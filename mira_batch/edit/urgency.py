"""In which order records get at the models: so that shards are finished early."""

from __future__ import annotations


def rank_request(shard: int, steps: int) -> tuple[int, int]:
    """How urgent a record's request is, smaller first: of the oldest shard's records the deepest one.

    Args:
        shard: the number of the record's shard.
        steps: how many steps the record has made.
    """
    return (shard, -steps)
