"""All runs under one output: which there are, what is in their results, and which work they have done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.types import Status
from mira_batch.storage.run.layout import RUN, DamagedFile, RunSpec, job_of, parse_run
from mira_batch.storage.run.results import columns_to_read, result_files, take_from_file, tell_unfinished
from mira_batch.storage.stores import ArrowFileSystem, open_store, shorten_error

T = TypeVar("T")
_log = logging.getLogger(__name__)
_THREADS = 16
_FILES_AT_ONCE = 256
"""Result files read ahead of their use; of each only the columns asked for."""
_NO_PART = ("input", "manifest_content")
"""Settings of a run that say what it read, not what it made of a record."""


@dataclass(frozen=True)
class EarlierWork:
    """Work that other runs have done with one of the statuses that count as done."""

    models: Sequence[Mapping[str, str | None]] = ()
    """Who did it: each set of identities once."""
    by: Mapping[bytes, int] = field(default_factory=dict)
    """work_id -> place in `models` of who did it last."""


def find_earlier_work(spec: RunSpec, fields: pa.Schema, done: Collection[Status]) -> EarlierWork:
    """What other runs under the same output have done that this one would do alike.

    Those are runs of the same fingerprint whose rows have the same form. Others are not read. A run or a
    result file that is damaged counts as not done, and the log names it.

    Args:
        spec: this run.
        fields: schema of its results.
        done: the statuses that count as done.

    Raises:
        StoreError: the store can't be used.
    """
    names = ("work_id", "status", *(["models"] if "models" in fields.names else []))
    models: list[Mapping[str, str | None]] = []
    places: dict[tuple[str | None, ...], int] = {}
    by: dict[bytes, int] = {}
    for run, about in list_runs(spec.output, spec.storage, on_damaged=_warn):
        if run == spec.uri or not _is_alike(spec, about):
            continue
        for _, table in read_columns(run, names, fields, spec.storage, on_damaged=_warn):
            for row in table.filter(pc.field("status").isin(sorted(done))).to_pylist():
                identities = row.get("models") or {}
                place = places.setdefault(tuple(identities.values()), len(places))
                if place == len(models):
                    models.append(identities)
                by[bytes.fromhex(row["work_id"])] = place
    return EarlierWork(models, by)


def _is_alike(spec: RunSpec, about: Mapping[str, Any]) -> bool:
    """Whether a run, by its `run.json`, makes the same of a record, in the same form."""

    def form(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name not in _NO_PART}

    same_job = job_of(about) == spec.job and about["fingerprint"] == spec.fingerprint
    return same_job and form(about["settings"]) == form(spec.settings)


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
) -> Iterator[tuple[str, pa.Table]]:
    """These columns of each result file of a run, file by file, as `fields` declares them; `status` as
    `tell_unfinished` gives it.

    Args:
        run: the run's directory.
        columns: which columns.
        fields: schema of its results.
        storage: how an object store is reached.
        on_damaged: told of a file that is damaged; what it raises ends the reading.

    Yields:
        (result file, table), by shard.
    """
    fs, files = result_files(run, storage)
    needed = columns_to_read(columns, fields.names)

    def read(file: str) -> pa.Table | DamagedFile:
        try:
            return read_result_file(
                fs,
                run,
                file,
                [fields.field(name) for name in needed],
                lambda parquet: tell_unfinished(parquet.read(columns=needed, use_threads=False)).select(
                    list(columns)
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
        columns: those that it must have, with their types.
        read: reads what is wanted. Called again, with the file in memory, where it seems to be damaged.
        storage: how an object store is reached.

    Raises:
        DamagedFile: it is damaged, or lacks a column.
        StoreError: its store can't be used.
    """
    where = f"{run}/results/{file.rsplit('/', 1)[1]}"

    def take(source: Any, fs: ArrowFileSystem | None) -> T:
        try:
            with pq.ParquetFile(source, filesystem=fs, page_checksum_verification=True) as parquet:
                found = {field.name: field.type for field in parquet.schema_arrow}
                for column in columns:
                    if found.get(column.name) != column.type:
                        raise pa.ArrowInvalid(f"its column {column.name} is missing or of another type")
                return read(parquet)
        except (pa.ArrowException, OSError) as error:
            if "AWS Error" in str(error):  # the store's fault, not the file's
                raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error
            raise

    try:
        return take_from_file(where, file, fs, storage, take)
    except (FileNotFoundError, PermissionError) as error:
        raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(
            f"{where}: is damaged ({shorten_error(error)}); keep it, but move it out of that "
            "run's directory, and run that run again"
        ) from error


def _warn(error: StoreError) -> None:
    _log.warning("%s. Its records count as not done.", error)
