"""The plan: which records make up which shard. Written once, read shard by shard.

Plan files are named by content and the marker `plan/plan.json`, created last, names them: a driver that
died half-way, or a second one that planned at the same time, can never mix two plans.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash
from mira_batch.storage.run import layout
from mira_batch.storage.stores import Store, shorten_error

SHARDS_PER_FILE = 256
TAPER = 4
"""The last shards shrink so that about this many times the pool's size remain at every size."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard by name: enough for a worker to read it."""

    index: int
    file: str
    """Plan file's key."""
    row_group: int
    records: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan, without its rows."""

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    """Records per shard."""
    rejected: int
    skipped: int
    """Records left out because an earlier run has them."""

    @property
    def records(self) -> int:
        """Records of all shards together."""
        return sum(self.sizes)

    def shards(self) -> Iterator[Shard]:
        """All shards, in order."""
        for index, size in enumerate(self.sizes):
            yield Shard(index, self.files[index // SHARDS_PER_FILE], index % SHARDS_PER_FILE, size)


@dataclass(frozen=True, slots=True)
class SkippedBy:
    """Records left out because models of these identities have done them in an earlier run."""

    models: Mapping[str, str | None]
    """Identity by role; None where there was no such model."""
    records: int


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


class PlanWriter:
    """Cuts a stream of plan rows into shards, holding only the last few thousand rows in memory."""

    def __init__(self, store: Store, most: int, workers: int) -> None:
        self._store = store
        self._most = most
        self._workers = workers
        self._tail: list[pa.Table] = []
        self._held = 0
        self._shards: list[pa.Table] = []
        self._files: list[str] = []
        self._sizes: list[int] = []

    def add(self, rows: pa.Table) -> None:
        """Take further rows (schema `PLAN`)."""
        self._tail.append(rows)
        self._held += rows.num_rows
        window = TAPER * self._workers * self._most
        if self._held > 2 * window + self._most * SHARDS_PER_FILE:
            self._cut(down_to=window)

    def finish(self, rejects: pa.Table, skipped: int, skipped_models: Sequence[SkippedBy] = ()) -> Plan:
        """Write the rest, the rejects, and last the marker.

        Args:
            rejects: the manifest rows that can't be used (schema `REJECTS`).
            skipped: how many records were left out because an earlier run has them.
            skipped_models: the same by the models that made them, for `layout.check_identities`.

        Returns the plan that stands: ours, or the one another driver finished first.
        """
        self._cut(down_to=0)
        self._flush()
        self._store.put(layout.REJECTS, _write_parquet([rejects]))
        document = {
            "files": self._files,
            "sizes": self._sizes,
            "rejected": rejects.num_rows,
            "skipped": skipped,
            "skipped_models": [asdict(entry) for entry in skipped_models],
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
            start += size
            if len(self._shards) == SHARDS_PER_FILE:
                self._flush()
        self._tail = [rows.slice(start)]
        self._held = rows.num_rows - start

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


def read_plan(store: Store) -> Plan | None:
    """The plan of a run, or None while there is no whole one.

    Raises:
        StoreError: its marker is damaged.
    """
    data = store.get(layout.PLAN)
    if data is None:
        return None
    keys = ("files", "sizes", "rejected", "skipped")
    found = layout.parse_document(data, store.locate(layout.PLAN), *keys)
    return Plan(tuple(found["files"]), tuple(found["sizes"]), found["rejected"], found["skipped"])


def read_shard(
    store: Store, shard: Shard, get: Callable[[str], bytes | None] | None = None
) -> list[dict[str, Any]]:
    """The plan rows of one shard. `get` may be the store's, cached: many shards share a plan file.

    Args:
        store: the run's directory.
        shard: which.
        get: reads an object of the store; None takes the store's own.

    Raises:
        StoreError: the plan file is gone or damaged.
    """
    data = (get or store.get)(shard.file)
    try:
        with pq.ParquetFile(io.BytesIO(data or b"")) as file:
            return file.read_row_group(shard.row_group).to_pylist()
    except (pa.ArrowException, OSError) as error:
        state = "missing" if data is None else f"damaged ({shorten_error(error)})"
        raise StoreError(
            f"{store.locate(shard.file)}: this plan file is {state}; restore it, or remove the run's "
            "directory and start again"
        ) from error


def read_rejects(store: Store) -> list[dict[str, Any]]:
    """The manifest rows that could not be used."""
    data = store.get(layout.REJECTS)
    return pq.read_table(io.BytesIO(data)).to_pylist() if data else []
