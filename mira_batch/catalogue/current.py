"""All runs under one output: which work they have done, and the current row of each record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.config.base import absolute
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.run.layout import RUN, parse_run
from mira_batch.storage.run.results import result_files
from mira_batch.storage.stores import ArrowFileSystem, open_store, shorten_error

_log = logging.getLogger(__name__)
_THREADS = 16
_FILES_AT_ONCE = 256
"""Result files read ahead of their use; of each only the columns asked for."""


@dataclass(frozen=True)
class EarlierWork:
    """Work that other runs have done with status ok."""

    models: Sequence[Mapping[str, str | None]] = ()
    """Who did it: each set of identities once."""
    by: Mapping[bytes, int] = field(default_factory=dict)
    """work_id -> place in `models` of who did it last."""


def work_of_earlier_runs(config: BulkEditConfig, own: str) -> EarlierWork:
    """What other runs under the same output have done that this one, in the directory `own`, would do alike.

    Those are runs of the same pipeline fingerprint that keep the step images in the same way. Others are
    not read. A run or a result file that is damaged counts as not done, and the log names it.

    Raises:
        StoreError: the store can't be used.
    """
    pipeline, kept = fingerprint(config.pixels()), config.output.step_images
    models: list[Mapping[str, str | None]] = []
    places: dict[tuple[str | None, ...], int] = {}
    by: dict[bytes, int] = {}
    for run, about in _runs(config.output.uri, config.storage, on_damaged=_warn):
        if run == own or about["fingerprint"] != pipeline or about["settings"].get("step_images") != kept:
            continue
        for _, table in _tables(run, ("work_id", "status", "models"), config.storage, on_damaged=_warn):
            for row in table.filter(pc.field("status") == Status.ok).to_pylist():
                place = places.setdefault(tuple(row["models"].values()), len(places))
                if place == len(models):
                    models.append(row["models"])
                by[bytes.fromhex(row["work_id"])] = place
    return EarlierWork(models, by)


def read_catalogue(
    output_uri: str, columns: Sequence[str] | None = None, storage: StorageConfig | None = None
) -> pa.Table:
    """The catalogue as it is now: one row per record_id that any run under this output has, in no set order.

    It is the row of the newest run that has the record with status ok; where none has, the newest failed
    one. Records that the manifest has lost since are still there. Runs are ordered by the time they were
    created, by the clock of the machine that created them.

    Args:
        output_uri: `output.uri`, the directory of all runs.
        columns: which columns to read; None reads all but `steps`. Leave out `image` when only the outcome
            matters, since the whole table is in memory (beside some 200 bytes a record while it is chosen).
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there is no run, the store can't be used, or a run is damaged.
        ValueError: there is no such column.
    """
    storage = storage or StorageConfig()
    names = list(columns) if columns is not None else [n for n in schema.RESULTS.names if n != "steps"]
    if unknown := [name for name in names if name not in schema.RESULTS.names]:
        raise ValueError(f"no such column: {', '.join(unknown)}; there are {', '.join(schema.RESULTS.names)}")
    runs = [run for run, _ in _runs(absolute(output_uri), storage, on_damaged=_raise)]
    if not runs:
        raise StoreError(f"{output_uri}: holds no run; give the directory of all runs, output.uri")
    whole = pa.schema([schema.RESULTS.field(name) for name in names])
    tables = [whole.empty_table()]
    for run, rows in _current_rows(runs, storage).items():
        fs, files = result_files(run, storage)
        for file in files:
            if file in rows:
                tables += [table.cast(whole) for table in _taken(fs, run, file, rows[file], names)]
    return pa.concat_tables(tables)


def _current_rows(runs: Sequence[str], storage: StorageConfig) -> dict[str, dict[str, list[int]]]:
    """Run -> result file -> the numbers of the rows that are current, ascending."""
    files: list[tuple[str, str]] = []
    current: dict[bytes, int] = {}
    """Digest of the record_id -> place in `files`, row and ok, packed, as there may be millions."""
    for run in runs:
        for file, table in _tables(run, ("record_id", "status"), storage, on_damaged=_raise):
            columns = (table["record_id"].to_pylist(), table["status"].to_pylist())
            for row, (record_id, status) in enumerate(zip(*columns, strict=True)):
                key, ok = bytes.fromhex(content_hash(record_id)), status == Status.ok
                if ok or not current.get(key, 0) & 1:
                    current[key] = len(files) << 32 | row << 1 | ok
            files.append((run, file))
    chosen: dict[str, dict[str, list[int]]] = {run: {} for run in runs}
    for packed in sorted(current.values()):
        run, file = files[packed >> 32]
        chosen[run].setdefault(file, []).append((packed & 0xFFFFFFFF) >> 1)
    return chosen


def _runs(
    output_uri: str, storage: StorageConfig, on_damaged: Callable[[StoreError], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run's directory and its `run.json`, the oldest first."""
    root = open_store(output_uri, storage, make=False)
    found = []
    for name in root.list_folders():
        if (data := root.get(f"{name}/{RUN}")) is not None:
            try:
                found.append((name, parse_run(data, root.locate(f"{name}/{RUN}"))))
            except StoreError as error:
                on_damaged(error)
    for name, about in sorted(found, key=lambda run: (str(run[1].get("created", "")), run[0])):
        yield root.locate(name), about


class _Damaged(StoreError):
    """A run or result file is there, but is not what it should be."""


def _tables(
    run: str, columns: Sequence[str], storage: StorageConfig, on_damaged: Callable[[StoreError], None]
) -> Iterator[tuple[str, pa.Table]]:
    """These columns of each result file of a run, file by file."""
    fs, files = result_files(run, storage)

    def read(file: str) -> pa.Table | _Damaged:
        try:
            with _opened(fs, run, file, columns) as parquet:
                return parquet.read(columns=list(columns), use_threads=False)
        except _Damaged as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(files), _FILES_AT_ONCE):
            some = files[first : first + _FILES_AT_ONCE]
            for file, table in zip(some, pool.map(read, some), strict=True):
                if isinstance(table, _Damaged):
                    on_damaged(table)
                else:
                    yield file, table


@contextmanager
def _opened(fs: ArrowFileSystem, run: str, file: str, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """A result file that has these columns. The boundary of what lies in it."""
    where = f"{run}/results/{file.rsplit('/', 1)[1]}"
    try:
        with pq.ParquetFile(file, filesystem=fs) as parquet:
            found = {field.name: field.type for field in parquet.schema_arrow}
            for name in columns:
                if found.get(name) != schema.RESULTS.field(name).type:
                    raise pa.ArrowInvalid(f"its column {name} is missing or of another type")
            yield parquet
    except (pa.ArrowException, OSError) as error:
        if "AWS Error" in str(error):  # the store's fault, not the file's
            raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error
        raise _Damaged(
            f"{where}: is damaged ({shorten_error(error)}); remove it and run that run again"
        ) from error


def _taken(
    fs: ArrowFileSystem, run: str, file: str, rows: Sequence[int], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """These rows of a result file; only their row groups are read, one at a time."""
    with _opened(fs, run, file, columns) as parquet:
        start = 0
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if inside := [row - start for row in rows if start <= row < start + count]:
                yield parquet.read_row_group(group, columns=list(columns)).take(inside)
            start += count


def _warn(error: StoreError) -> None:
    _log.warning("%s. Its records count as not done.", error)


def _raise(error: StoreError) -> None:
    raise error
