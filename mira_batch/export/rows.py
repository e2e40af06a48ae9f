"""Reads rows back from result files, each file once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import BucketSpool, Numbers
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import take_rows
from mira_batch.storage.stores import open_arrow_filesystem

BUCKETS = 64
"""Into so many a catalogue is cut, so that no more than one of them is in memory."""
_THREADS = 16


def spool_by_file(fields: pa.Schema) -> BucketSpool:
    """A spool of rows in which those of a result file are together.

    Args:
        fields: of the rows, `run` and `shard` among them.
    """
    return BucketSpool(BUCKETS, fields, _find_file)


def _find_file(rows: pa.Table) -> Numbers:
    encoded = rows["run"].combine_chunks().dictionary_encode()
    runs = np.array([zlib.crc32(name.encode()) for name in encoded.dictionary.to_pylist()], np.int64)
    if not rows.num_rows:
        return np.zeros(0, np.int64)
    return (runs[encoded.indices.to_numpy()] + rows["shard"].to_numpy()) % BUCKETS


def cut_by_file(rows: pa.Table) -> list[pa.Table]:
    """Rows by result file, in a set order; the rows of a file as they stand in it.

    Args:
        rows: with the columns `run`, `shard` and `row`.
    """
    if not rows.num_rows:
        return []
    ordered = rows.sort_by([("run", "ascending"), ("shard", "ascending"), ("row", "ascending")])
    runs = ordered["run"].combine_chunks().dictionary_encode().indices.to_numpy()
    shards = ordered["shard"].to_numpy()
    starts = np.flatnonzero((np.diff(runs) != 0) | (np.diff(shards) != 0)) + 1
    bounds = [0, *starts.tolist(), ordered.num_rows]
    return [ordered.slice(a, b - a) for a, b in zip(bounds, bounds[1:], strict=False)]


def read_file_rows(output: str, rows: pa.Table, columns: Sequence[str], storage: StorageConfig) -> pa.Table:
    """These columns of some rows of one result file, in their order.

    Args:
        output: the directory of all runs.
        rows: of one file, as of `cut_by_file`.
        columns: which; `record_id` and `work_id` come first, whether they are named or not.
        storage: how the store is reached.

    Raises:
        StoreError: the file is gone or damaged, or has other rows there.
    """
    run, shard = rows["run"][0].as_py(), rows["shard"][0].as_py()
    where = f"{output}/{run}"
    names = list(dict.fromkeys(["record_id", "work_id", *columns]))
    fs, root = open_arrow_filesystem(where, storage)
    take = partial(_take, rows=rows["row"].to_pylist(), names=names)
    wanted = [schema.RESULTS.field(name) for name in names]
    try:
        table = read_result_file(fs, where, f"{root}/{result_key(shard)}", wanted, take, storage)
    except StoreError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise StoreError(
            f"{error}. If `mira-batch forget` has deleted it since this export was begun, export into "
            "another destination"
        ) from error
    for name in ("record_id", "work_id"):
        if table[name].to_pylist() != rows[name].to_pylist():
            raise StoreError(
                f"{where}/{result_key(shard)}: has other records than the catalogue says; make the catalogue "
                "anew with `mira-batch catalogue rebuild`, and export into another destination"
            )
    return table


def _take(parquet: pq.ParquetFile, rows: Sequence[int], names: Sequence[str]) -> pa.Table:
    empty = pa.schema([schema.RESULTS.field(name) for name in names]).empty_table()
    return pa.concat_tables([empty, *(table.cast(empty.schema) for table in take_rows(parquet, rows, names))])


def read_each_file(
    output: str, spool: BucketSpool, columns: Sequence[str], storage: StorageConfig, look: Callable[[], None]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """All rows of a spool by result file, and these columns of them, read by threads.

    Args:
        output: the directory of all runs.
        spool: of `spool_by_file`.
        columns: which; none opens no file, and the second table has the rows' ids.
        storage: how the store is reached.
        look: called for each file; what it raises ends the reading.

    Raises:
        StoreError: as `read_file_rows`.
    """

    def read(rows: pa.Table) -> Any:
        if not columns:
            return rows.select(["record_id", "work_id"])
        return read_file_rows(output, rows, columns, storage)

    with ThreadPoolExecutor(_THREADS) as pool:
        for bucket in range(BUCKETS):
            files = cut_by_file(spool.read(bucket))
            for first in range(0, len(files), 4 * _THREADS):
                some = files[first : first + 4 * _THREADS]
                for rows, table in zip(some, pool.map(read, some), strict=True):
                    look()
                    yield rows, table
