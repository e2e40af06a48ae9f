"""Rows by hash of their record id, so that two tables of any size are joined a bucket at a time.

A record is in the same bucket of every table that is cut into as many, and of one that is cut into twice as
many in one of the two that came of it.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, np.dtype[np.int64]]
_HELD = 100_000
"""Rows in memory before they are written."""


def count_buckets(records: int, most: int) -> int:
    """The least power of two by which no bucket holds many more than `most` of so many records."""
    return 1 << max(0, (max(1, records) - 1) // most).bit_length()


def digest_records(record_ids: list[str]) -> pa.Array:
    """Digests of record ids (BLAKE2b, 16 bytes), by which they are found and told apart."""
    digests = [blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest() for name in record_ids]
    return pa.array(digests, pa.binary(16))


def find_buckets(digests: pa.Array | pa.ChunkedArray, count: int) -> Numbers:
    """The bucket of each record.

    Args:
        digests: as of `digest_records`, without nulls.
        count: how many buckets there are, a power of two.
    """
    whole = digests.combine_chunks() if isinstance(digests, pa.ChunkedArray) else digests
    if not len(whole):
        return np.zeros(0, np.int64)
    data = np.frombuffer(whole.buffers()[1], np.uint8)[16 * whole.offset :][: 16 * len(whole)]
    head = data.reshape(-1, 16)[:, :4].copy().view(">u4")[:, 0]
    return head.astype(np.int64) >> (32 - count.bit_length() + 1)


class BucketSpool:
    """Rows on their way into buckets: beyond some number on the local disk, so that they are never all in
    memory.

    Rows of a bucket come back in the order in which they were added. To be used as a context manager, at the
    end of which nothing of it is left.
    """

    def __init__(
        self, count: int, fields: pa.Schema, find: Callable[[pa.Table], Numbers] | None = None
    ) -> None:
        """
        Args:
            count: of the buckets; a power of two, where a row's is found by its record.
            fields: schema of the rows.
            find: the bucket of each row; None: by its record, whose `digest` is among the fields.
        """
        self._count = count
        self._fields = fields
        self._find = find or (lambda rows: find_buckets(rows["digest"], count))
        self._held: list[pa.Table] = []
        self._rows = 0
        self.num_rows = 0
        self._files: dict[int, tuple[str, pa.ipc.RecordBatchStreamWriter]] = {}
        self._last: dict[int, pa.Table] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        _allow_files(self._count)
        self._folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mira-batch-"))
        return self

    def __exit__(self, *_: object) -> None:
        for _path, writer in self._files.values():
            writer.close()
        self._stack.close()

    def add(self, rows: pa.Table) -> None:
        """Take in rows of the spool's schema, before any are read."""
        self._held.append(rows)
        self._rows += rows.num_rows
        self.num_rows += rows.num_rows
        if self._rows >= _HELD:
            for bucket, part in self._cut().items():
                if bucket not in self._files:
                    path = f"{self._folder}/{bucket}"
                    self._files[bucket] = path, pa.ipc.new_stream(path, self._fields)
                self._files[bucket][1].write_table(part)

    def read(self, bucket: int) -> pa.Table:
        """All rows of a bucket."""
        if self._last is None:
            self._last = self._cut()
        found = [self._last.get(bucket, self._fields.empty_table())]
        if bucket in self._files:
            path, writer = self._files[bucket]
            writer.close()
            with pa.OSFile(path) as source:
                found.insert(0, pa.ipc.open_stream(source).read_all())
        return pa.concat_tables(found)

    def _cut(self) -> dict[int, pa.Table]:
        """The rows held in memory, by bucket; none are held afterwards."""
        rows = pa.concat_tables([self._fields.empty_table(), *self._held]).combine_chunks()
        self._held, self._rows = [], 0
        if not rows.num_rows:
            return {}
        buckets = self._find(rows)
        order = np.argsort(buckets, kind="stable")
        found, starts = np.unique(buckets[order], return_index=True)
        ordered = rows.take(pa.array(order))
        ends = [*starts[1:].tolist(), len(order)]
        places = zip(found.tolist(), starts.tolist(), ends, strict=True)
        return {bucket: ordered.slice(start, end - start) for bucket, start, end in places}


def _allow_files(more: int) -> None:
    """Have this process open so many files more, as far as it may: with one for each bucket it soon passes
    the 1,024 that many systems begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + more + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class RowSpool:
    """Rows that are to be read once more, in the order in which they came: beyond some number from the local
    disk. To be used as a context manager, at the end of which nothing of it is left."""

    def __init__(self, fields: pa.Schema) -> None:
        """`fields`: schema of the rows."""
        self._fields = fields
        self._held: list[pa.Table] = []
        self.num_rows = 0
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mira-batch-"))
        self._path = f"{folder}/rows"
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._stack.close()

    def add(self, rows: pa.Table) -> None:
        """Take in rows, before any are read."""
        self._held.append(rows)
        self.num_rows += rows.num_rows
        if self.num_rows >= _HELD:  # from then on none are held: they may lie in Ray's shared memory
            self._writer = self._writer or pa.ipc.new_stream(self._path, self._fields)
            for table in self._held:
                self._writer.write_table(table)
            self._held = []

    def read(self, least: int = 1) -> Iterator[pa.Table]:
        """All rows, in tables as they were added, or of so many of these that they have `least` rows."""
        found, rows = [], 0
        for table in self._read():
            found.append(table)
            rows += table.num_rows
            if rows >= least:
                yield pa.concat_tables(found)
                found, rows = [], 0
        if rows:
            yield pa.concat_tables(found)

    def _read(self) -> Iterator[pa.Table]:
        if self._writer is not None:
            self._writer.close()
            with pa.OSFile(self._path) as source:  # of a file that is mapped all that was read stays resident
                for batch in pa.ipc.open_stream(source):
                    yield pa.Table.from_batches([batch])
        yield from self._held
