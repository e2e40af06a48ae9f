"""All runs under one output: which there are, what is in their results, and which work they have done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.run.layout import RUN, DamagedFile, parse_run, shard_of
from mira_batch.storage.run.results import (
    columns_to_read,
    result_files,
    take_columns,
    take_from_file,
    tell_unfinished,
)
from mira_batch.storage.stores import ArrowFileSystem, open_store, shorten_error

T = TypeVar("T")
_log = logging.getLogger(__name__)
_THREADS = 16
_FILES_AT_ONCE = 256
"""Result files read ahead of their use; of each only the columns asked for."""


def list_runs(
    output_uri: str, storage: StorageConfig, on_damaged: Callable[[StoreError], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run's directory and its `run.json`, the oldest first.

    Args:
        output_uri: directory of all runs.
        storage: how an object store is reached.
        on_damaged: told of a run whose `run.json` is damaged; what it raises ends the listing.

    Raises:
        StoreError: the store can't be used.
    """
    root = open_store(output_uri, storage, make=False)
    found = []
    for name in root.list_folders():
        where = root.locate(f"{name}/{RUN}")
        try:
            about = root.read(f"{name}/{RUN}", partial(parse_run, where=where))
        except DamagedFile as error:
            on_damaged(error)
        else:
            found += [(name, about)] if about is not None else []
    for name, about in sorted(found, key=lambda run: (str(run[1].get("created", "")), run[0])):
        yield root.locate(name), about


def read_columns(
    run: str,
    columns: Sequence[str],
    fields: pa.Schema,
    storage: StorageConfig,
    on_damaged: Callable[[StoreError], None],
    leave_out: Container[int] = (),
) -> Iterator[tuple[str, pa.Table]]:
    """These columns of each result file of a run, file by file, as `fields` declares them; `status` as
    `tell_unfinished` gives it.

    Args:
        run: the run's directory.
        columns: which columns.
        fields: schema of its results.
        storage: how an object store is reached.
        on_damaged: told of a file that is damaged; what it raises ends the reading.
        leave_out: shards whose files are not read.

    Yields:
        (result file, table), by shard.
    """
    fs, files = result_files(run, storage)
    files = [file for file in files if shard_in(file) not in leave_out]
    needed = columns_to_read(columns, fields.names)

    def read(file: str) -> pa.Table | DamagedFile:
        try:
            return read_result_file(
                fs,
                run,
                file,
                [fields.field(name) for name in needed],
                lambda parquet: take_columns(
                    tell_unfinished(parquet.read(columns=needed, use_threads=False)), columns
                ),
                storage,
            )
        except DamagedFile as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(files), _FILES_AT_ONCE):
            some = files[first : first + _FILES_AT_ONCE]
            for file, table in zip(some, pool.map(read, some), strict=True):
                if isinstance(table, DamagedFile):
                    on_damaged(table)
                else:
                    yield file, table


def shard_in(file: str) -> int:
    """The shard of a result file, by its path."""
    shard = shard_of(f"results/{file.rsplit('/', 1)[1]}")
    assert shard is not None
    return shard


def read_result_file(
    fs: ArrowFileSystem,
    run: str,
    file: str,
    columns: Sequence[pa.Field],
    read: Callable[[pq.ParquetFile], T],
    storage: StorageConfig,
) -> T:
    """What `read` makes of a result file that has these columns. The boundary of what lies in it.

    Args:
        fs: the file system of the results.
        run: the run's directory, for messages.
        file: path of the result file.
        columns: those that it must have, with their types; those of `schema.LATER` it may lack.
        read: reads what is wanted. Called again, with the file in memory, where that fails: the file
            seems to be damaged, or its store has a passing fault.
        storage: how an object store is reached.

    Raises:
        DamagedFile: it is damaged, or lacks a column.
        StoreError: its store can't be used.
    """
    where = f"{run}/results/{file.rsplit('/', 1)[1]}"

    def take(source: Any, fs: ArrowFileSystem | None) -> T:
        with pq.ParquetFile(source, filesystem=fs, page_checksum_verification=True) as parquet:
            found = {field.name: field.type for field in parquet.schema_arrow}
            for column in columns:
                may_lack = column.name in schema.LATER.names and column.name not in found
                if not may_lack and found.get(column.name) != column.type:
                    raise pa.ArrowInvalid(f"its column {column.name} is missing or of another type")
            return read(parquet)

    try:
        return take_from_file(where, file, fs, storage, take)
    except (FileNotFoundError, PermissionError) as error:
        raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(
            f"{where}: is damaged ({shorten_error(error)}); keep it, but move it out of that "
            "run's directory, and run that run again"
        ) from error
