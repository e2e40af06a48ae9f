"""Writes a plan: cuts its rows into shards, and puts these into files."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.core.identity import content_hash
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import SHARDS_PER_FILE, LeftOut, Plan, read_plan
from mira_batch.storage.stores import Store

TAPER = 4
"""The last shards shrink so that about this many times the pool's size remain at every size."""


def choose_shard_size(remaining: int, most: int, workers: int) -> int:
    """The size of the next shard: `most` for a long time, then ever smaller, single records last.

    With r records left and w workers it is r / (4 w), so that the work still in hand when the plan runs
    out is spread over the whole pool.

    Args:
        remaining: records not yet in a shard.
        most: the largest size of a shard.
        workers: the most workers of the pool.
    """
    return max(1, min(most, math.ceil(remaining / (TAPER * workers))))


def count_shards(records: int, most: int, workers: int) -> int:
    """How many shards a plan has.

    Args:
        records: that it runs.
        most, workers: as of `choose_shard_size`.
    """
    whole = max(0, (records - TAPER * workers * most) // most + 1) if most > 1 else 0
    left, shards = records - whole * most, whole
    while left > 0:
        left -= choose_shard_size(left, most, workers)
        shards += 1
    return shards


class PlanWriter:
    """Cuts a stream of plan rows into shards, holding only the last few thousand rows in memory."""

    def __init__(self, store: Store, most: int, workers: int, watched: Collection[str] = ()) -> None:
        """
        Args:
            store: the run's directory.
            most: the largest size of a shard.
            workers: the most workers of the pool.
            watched: work_ids of which the shard is to be known.
        """
        self.shards: dict[str, int] = {}
        """The shard of each watched work_id that is in the plan; whole once `close` was called."""
        self._watched = pa.array(list(watched), pa.string())
        self._store = store
        self._most = most
        self._workers = workers
        self._tail: list[pa.Table] = []
        self._held = 0
        self._shards: list[pa.Table] = []
        self._pointers: list[str] = []
        self._files: list[str] = []
        self._sizes: list[int] = []

    def add(self, rows: pa.Table) -> None:
        """Take further rows (schema `PLAN`)."""
        self._tail.append(rows)
        self._held += rows.num_rows
        window = TAPER * self._workers * self._most
        if self._held > 2 * window + self._most * SHARDS_PER_FILE:
            self._cut(down_to=window)

    def point(self, pointers: pa.Table) -> None:
        """Write down which rows stand for records that are not run (schema `POINTERS`)."""
        if pointers.num_rows:
            data = _write_parquet([pointers])
            key = f"plan/pointers-{len(self._pointers):04d}-{content_hash(data, size=4)}.parquet"
            self._store.put(key, data)
            self._pointers.append(key)

    def close(self) -> None:
        """Write the rows that are left. None may be added any more."""
        self._cut(down_to=0)
        self._flush()

    def finish(
        self, rejects: pa.Table, left_out: LeftOut | None = None, take_number: Callable[[], int] = lambda: 0
    ) -> Plan:
        """Write the rest, the rejects, and last the marker.

        Args:
            rejects: the manifest rows that can't be used (schema `REJECTS`).
            left_out: what is not run, and why the rest is.
            take_number: takes the plan's number.

        Returns the plan that stands: ours, or the one another driver finished first.
        """
        left_out = left_out or LeftOut()
        self.close()
        self._store.put(layout.REJECTS, _write_parquet([rejects]))
        document = {
            "number": take_number(),
            "files": self._files,
            "sizes": self._sizes,
            "pointers": self._pointers,
            "rejected": rejects.num_rows,
            "skipped": left_out.records,
            "skipped_models": [asdict(entry) for entry in left_out.by],
            "causes": {name: asdict(cause) for name, cause in left_out.causes.items()},
            "digest": left_out.digest,
        }
        self._store.create(layout.PLAN, json.dumps(document).encode())
        plan = read_plan(self._store)
        assert plan is not None
        return plan

    def _cut(self, down_to: int) -> None:
        if not self._held:
            return
        rows = pa.concat_tables(self._tail).combine_chunks()
        start = 0
        while (remaining := rows.num_rows - start) > down_to:
            size = choose_shard_size(remaining, self._most, self._workers)
            self._shards.append(rows.slice(start, size))
            self._watch(rows["work_id"].slice(start, size))
            start += size
            if len(self._shards) == SHARDS_PER_FILE:
                self._flush()
        self._tail = [rows.slice(start)]
        self._held = rows.num_rows - start

    def _watch(self, works: pa.ChunkedArray) -> None:
        if len(self._watched):
            watched = pc.call_function("is_in", [works], pc.SetLookupOptions(self._watched))
            shard = len(self._sizes) + len(self._shards) - 1
            self.shards |= dict.fromkeys(works.filter(watched).to_pylist(), shard)

    def _flush(self) -> None:
        if not self._shards:
            return
        data = _write_parquet(self._shards)
        key = f"plan/plan-{len(self._files):04d}-{content_hash(data, size=4)}.parquet"
        self._store.put(key, data)
        self._files.append(key)
        self._sizes += [shard.num_rows for shard in self._shards]
        self._shards = []


def _write_parquet(groups: list[pa.Table]) -> bytes:
    """One Parquet file with a row group per table.

    Of these row groups of a few dozen rows zstd, dictionaries and statistics make up four fifths of the time,
    which the driver spends for the whole plan, and statistics and dictionaries a third of the bytes.
    """
    sink = io.BytesIO()
    how: dict[str, Any] = {"compression": "snappy", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(sink, groups[0].schema, **how) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=max(1, group.num_rows))
    return sink.getvalue()


def write_plan_of(store: Store, shards: Sequence[pa.Table], more: Mapping[str, Any]) -> None:
    """Write a plan of these very shards.

    Args:
        store: the run's directory.
        shards: the plan rows of each.
        more: what else its marker says.
    """
    files = []
    for first in range(0, len(shards), SHARDS_PER_FILE):
        data = _write_parquet(list(shards[first : first + SHARDS_PER_FILE]))
        files.append(f"plan/plan-{len(files):04d}-{content_hash(data, size=4)}.parquet")
        store.put(files[-1], data)
    sizes = [shard.num_rows for shard in shards]
    document = {"files": files, "sizes": sizes, "rejected": 0, "skipped": 0, **more}
    store.put(layout.PLAN, json.dumps(document).encode())
