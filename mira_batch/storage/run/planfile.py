"""The plan: which records make up which shard. Written once, read shard by shard.

Plan files are named by content and the marker `plan/plan.json`, created last, names them: a driver that
died half-way, or a second one that planned at the same time, can never mix two plans.
"""

from __future__ import annotations

import io
import json
import math
import re
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
_NAMED = re.compile(r"plan-\d+-([0-9a-f]{8})\.parquet$")
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
    found = layout.read_document(store, layout.PLAN, "files", "sizes", "rejected", "skipped")
    if found is None:
        return None
    return Plan(tuple(found["files"]), tuple(found["sizes"]), found["rejected"], found["skipped"])


def read_plan_file(store: Store, key: str) -> bytes:
    """A plan file's bytes, which are what its name says.

    Args:
        store: the run's directory.
        key: the file's.

    Raises:
        StoreError: it is gone or damaged.
    """
    state, damage = "missing", None
    try:
        if (data := store.read(key, lambda data: _check_plan_file(key, data))) is not None:
            return data
    except (pa.ArrowException, OSError, ValueError) as error:
        state, damage = f"damaged ({shorten_error(error)})", error
    raise StoreError(
        f"{store.locate(key)}: this plan file is {state}; restore it, or leave this run and choose another "
        "run_id or output.uri"
    ) from damage


def _check_plan_file(key: str, data: bytes) -> bytes:
    pq.read_metadata(pa.BufferReader(data))
    named = _NAMED.search(key)
    if named and content_hash(data, size=4) != named[1]:
        raise ValueError("its content is not the one that it is named after")
    return data


def read_shard(
    store: Store, shard: Shard, read: Callable[[str], bytes] | None = None
) -> list[dict[str, Any]]:
    """The plan rows of one shard.

    Args:
        store: the run's directory.
        shard: which.
        read: `read_plan_file` of this store, cached: many shards share a plan file. None reads it now.

    Raises:
        StoreError: the plan file is gone or damaged.
    """
    data = read(shard.file) if read else read_plan_file(store, shard.file)
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        return file.read_row_group(shard.row_group).to_pylist()


def read_rejects(store: Store) -> list[dict[str, Any]]:
    """The manifest rows that could not be used."""
    return store.read(layout.REJECTS, lambda data: pq.read_table(pa.BufferReader(data)).to_pylist()) or []
