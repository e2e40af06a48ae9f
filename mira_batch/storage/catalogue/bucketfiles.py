"""The rows of a snapshot, a Parquet file for each bucket."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records, find_buckets
from mira_batch.storage.catalogue.snapshot import (
    ADVICE,
    MARKER,
    FoldedRun,
    Snapshot,
    create_snapshot,
    locate_file,
    read_clock,
)
from mira_batch.storage.run.layout import DamagedFile
from mira_batch.storage.stores import Store, shorten_error


def read_bucket(store: Store, snapshot: Snapshot, bucket: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of a bucket.

    Args:
        store: the directory of the catalogue.
        snapshot: one of its.
        bucket: which.
        columns: which columns; None: all.

    Raises:
        StoreError: the store can't be used, or the bucket is gone or damaged.
    """
    key = snapshot.files[bucket]

    def parse(data: bytes) -> pa.Table:
        if content_hash(data, size=4) not in key:
            raise ValueError("its content is not the one that it is named after")
        rows = pq.ParquetFile(pa.BufferReader(data)).read(columns=columns)
        names = columns or schema.SNAPSHOT.names
        for name in schema.FIDELITY.names:  # a snapshot of form 1 lacks them
            if name in names and name not in rows.column_names:
                field = schema.SNAPSHOT.field(name)
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return rows.select(names)

    problem: Exception | None = None
    try:
        if (table := store.read(key, parse)) is not None:
            return table
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        problem = error
    if problem is None and not store.exists(locate_file(snapshot.number, MARKER)):
        raise StoreError(f"{store.locate(key)}: was deleted by `mira-batch forget` meanwhile; call again")
    state = "missing" if problem is None else f"damaged ({shorten_error(problem)})"
    raise DamagedFile(f"{store.locate(key)}: is {state}; {ADVICE}") from problem


def read_part(store: Store, snapshot: Snapshot, part: int, count: int) -> pa.Table:
    """The rows of one of `count` parts of a snapshot: of a bucket, where it has as many.

    Args:
        store: the directory of the catalogue.
        snapshot: one of its.
        part: which, as of `find_buckets`.
        count: how many parts there are, a power of two and at least as many as the snapshot has buckets.

    Raises:
        StoreError: as `read_bucket`.
    """
    if not snapshot.files:
        return schema.SNAPSHOT.empty_table()
    split = count // len(snapshot.files)
    rows = read_bucket(store, snapshot, part // split)
    if split == 1:
        return rows
    parts = find_buckets(digest_records(rows["record_id"].to_pylist()), count)
    return rows.filter(pa.array(parts == part))


class SnapshotWriter:
    """Writes the buckets of the next snapshot one after the other."""

    def __init__(self, store: Store, number: int) -> None:
        """
        Args:
            store: the directory of the catalogue.
            number: the snapshot's.
        """
        self._store = store
        self._number = number
        self._files: list[str] = []
        self._records = self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Write the next bucket (schema `SNAPSHOT`)."""
        sink = io.BytesIO()
        names: Any = ["status", "stop_reason", "error_kind", "models", "run", "source"]
        pq.write_table(rows, sink, compression="zstd", use_dictionary=names, write_page_checksum=True)
        data = sink.getvalue()
        key = locate_file(self._number, f"bucket-{len(self._files):03d}-{content_hash(data, size=4)}.parquet")
        self._store.put(key, data)
        self._files.append(key)
        self._rows += rows.num_rows
        self._records += rows["current"].to_pylist().count(True)

    def finish(
        self,
        runs: Mapping[str, FoldedRun],
        forgotten: Collection[str] = (),
        created: str = "",
        pruned: bool = False,
    ) -> Snapshot | None:
        """Create the marker.

        Args:
            runs, forgotten, pruned: of the snapshot.
            created: when its state came to be; empty: now.

        Returns the snapshot; None where another driver has taken the number.
        """
        made = Snapshot(
            self._number,
            tuple(self._files),
            self._records,
            self._rows,
            dict(runs),
            frozenset(forgotten),
            created or read_clock(),
            pruned,
        )
        return made if create_snapshot(self._store, made) else None
