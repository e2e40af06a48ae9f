"""Result rows, read back as outputs and as trajectories; `result_file.py` writes them.

A file under `results/` is the commit of its shard (docs/architecture.md), so everything about a shard
is in its one file, and any Parquet reader sees each record exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.types import UNFINISHED, Status
from mira_batch.storage import schema
from mira_batch.storage.run.layout import RUN, job_of, parse_run, shard_of
from mira_batch.storage.run.result_file import GROUP_ROWS
from mira_batch.storage.stores import (
    ArrowFileSystem,
    file_exists,
    list_files_below,
    open_arrow_filesystem,
    read_checked,
    read_errors,
    shorten_error,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

T = TypeVar("T")
_HEAD = {"record_id": "record_id", "work_id": "work_id", "instruction": "goal"}
"""What a step's row has of its record, under which names."""
_BOUNDED: Any = {"batch_size": GROUP_ROWS, "cache_metadata": False}
"""Scans keep neither whole shards nor the footers of all files in memory."""
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def results_dataset(run: str, storage: StorageConfig | None = None) -> ds.FileSystemDataset:
    """The committed results of a run of any job as a pyarrow dataset, for scans with bounded memory.

    Rows are as they stand in the files: in a run from before there was the status `unfinished`, such records
    have the status `ok`, and `stop_reason` tells them apart. The other readers tell it.

    Args:
        run: the run's directory (`<output>/<run_id>`), or the `results` directory in it.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    import pyarrow.dataset as ds  # imports pandas: a third of a second, which readers of single files save

    storage = storage or StorageConfig()
    fs, files = result_files(run, storage)
    fields = _declare_fields(run, fs, files, storage)
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    return ds.FileSystemDataset.from_paths(files, schema=fields, format=form, filesystem=fs)


def _declare_fields(run: str, fs: ArrowFileSystem, files: Sequence[str], storage: StorageConfig) -> pa.Schema:
    """The schema of a run's results: as this version declares it, also where an older one wrote fewer
    columns; of a job of the user's own as it stands in its files.

    Raises:
        StoreError: the first of them is damaged.
    """
    job = read_job(run, storage)
    if job in schema.RESULTS_OF:
        return schema.RESULTS_OF[job]
    if not files:
        return schema.RESULTS
    found = _read_file(run, files[0], fs, storage, lambda file, fs: pq.read_schema(file, filesystem=fs))
    # Results that were copied without their run.json are an edit's, if they look so.
    return schema.RESULTS if job is None and set(found.names) <= set(schema.RESULTS.names) else found


def take_from_file(
    where: str, file: str, fs: ArrowFileSystem, storage: StorageConfig, take: Callable[[Any, Any], T]
) -> T:
    """What `take` makes of a result file. What seems damaged is read again, as a whole.

    Args:
        where: the file's location.
        file: its path in `fs`.
        fs: the file system of the results.
        storage: how an object store is reached.
        take: given the path and `fs`, or then the file in memory and None.

    Raises:
        StoreError: as `read_checked`.
        Exception: whatever `take` and `read_checked` raise.
    """
    try:
        return take(file, fs)
    except (pa.ArrowException, OSError):
        return read_checked(where, storage, lambda data: take(pa.BufferReader(data), None))


def _read_file(
    run: str, file: str, fs: ArrowFileSystem, storage: StorageConfig, take: Callable[[Any, Any], T]
) -> T:
    """As `take_from_file`, of a file of this run.

    Raises:
        StoreError: it is damaged, or can't be read.
    """
    where = f"{make_absolute(run).rstrip('/').removesuffix('/results')}/results/{file.rsplit('/', 1)[1]}"
    try:
        return take_from_file(where, file, fs, storage, take)
    except (pa.ArrowException, *read_errors()) as error:
        raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error


def _read_each(
    dataset: ds.FileSystemDataset, run: str, columns: Sequence[str], storage: StorageConfig | None
) -> Iterator[pa.Table]:
    """These columns of each result file, one after the other: where a look at all at once failed.

    Raises:
        StoreError: one is damaged, or can't be read.
    """

    def take(file: Any, fs: ArrowFileSystem | None) -> pa.Table:
        return dataset.format.make_fragment(file, fs).to_table(schema=dataset.schema, columns=list(columns))

    for file in dataset.files:
        yield _read_file(run, file, dataset.filesystem, storage or StorageConfig(), take)


def read_job(run: str, storage: StorageConfig) -> str | None:
    """Which job a run is of; None where there is no `run.json`.

    Args:
        run: the run's directory, or the `results` directory in it.
        storage: how to reach an object store.

    Raises:
        StoreError: it is damaged, or its store can't be used.
    """
    where = f"{make_absolute(run).rstrip('/').removesuffix('/results')}/{RUN}"
    try:
        if not file_exists(where, storage):
            return None
        return job_of(read_checked(where, storage, partial(parse_run, where=where)))
    except read_errors() as error:
        raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error


def result_files(run: str, storage: StorageConfig) -> tuple[ArrowFileSystem, list[str]]:
    """The result files of a run by shard, and the file system that their paths belong to.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    root = make_absolute(run).rstrip("/").removesuffix("/results")
    try:
        listed = list_files_below(f"{root}/results", storage)
    except read_errors() as error:
        raise StoreError(f"{root}/results: can't be listed: {shorten_error(error)}") from error
    shards = {shard: name for name in listed if (shard := shard_of(f"results/{name}")) is not None}
    if not shards and not file_exists(f"{root}/{RUN}", storage):
        raise StoreError(f"{root}: holds no results; give the run's directory, <output>/<run_id>")
    fs, path = open_arrow_filesystem(f"{root}/results", storage)
    return fs, [f"{path}/{shards[shard]}" for shard in sorted(shards)]


def tell_unfinished(table: Rows) -> Rows:
    """The same rows, those of unfinished records with that status. Release 0.1 said `ok` of them.

    Args:
        table: rows of results. Without the columns `status` and `stop_reason` they stay as they are.
    """
    names = table.schema.names
    if "status" not in names or "stop_reason" not in names:
        return table
    place = names.index("status")
    said_ok = pc.call_function("equal", [table["status"], pa.scalar(Status.ok.value)])
    early = pc.call_function("is_in", [table["stop_reason"]], _list_early())
    unfinished = pc.call_function("and", [said_ok, early])
    status = pc.call_function("if_else", [unfinished, pa.scalar(Status.unfinished.value), table["status"]])
    return table.set_column(place, table.schema.field(place), status)


@cache
def _list_early() -> pc.SetLookupOptions:
    """Made when it is needed: the first array that a process makes imports pandas, a third of a second."""
    return pc.SetLookupOptions(pa.array(sorted(UNFINISHED), pa.string()))


def columns_to_read(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """These columns, and the one beside `status` that `tell_unfinished` needs.

    Args:
        columns: those wanted.
        known: those that there are.
    """
    needed = "status" in columns and "stop_reason" in known and "stop_reason" not in columns
    return [*columns, "stop_reason"] if needed else list(columns)


def fill_added(table: Rows, names: Sequence[str]) -> Rows:
    """These columns of results; null those that an earlier release didn't write.

    Args:
        table: rows of results.
        names: the columns that are wanted.
    """
    for name in names:
        if name in schema.ADDED and name not in table.schema.names:
            field = schema.RESULTS.field(name)
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(list(names))


def take_rows(
    parquet: pq.ParquetFile, rows: Sequence[int], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Some rows of a result file, a table for each row group that holds any; no other row group is read.

    Args:
        parquet: the file.
        rows: their numbers in it, ascending.
        columns: which columns to read, those of `schema.ADDED` also where the file lacks them; None reads all
            that it has.
    """
    known = parquet.schema_arrow.names
    names = known if columns is None else list(columns)
    for group, inside in find_groups(parquet, rows):
        table = parquet.read_row_group(group, columns=columns_to_read(names, known))
        yield fill_added(tell_unfinished(table.take(inside)), names)


def find_groups(parquet: pq.ParquetFile, rows: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """The row groups that hold some rows, and the numbers of these in each.

    Args:
        parquet: a result file.
        rows: their numbers in it, ascending.
    """
    start = 0
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        if inside := [row - start for row in rows if start <= row < start + count]:
            yield group, inside
        start += count


def read_outputs(
    run: str, columns: Sequence[str] | None = None, storage: StorageConfig | None = None
) -> pa.Table:
    """One row per record of a run of any job, as a table.

    All columns but `steps` by default; leave out `image` when only the outcome matters. For runs larger
    than memory use `results_dataset(run).to_batches(columns=…)`, or `ray.data.read_parquet`.

    Args:
        run: the run's directory.
        columns: which columns; None reads all but `steps`.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there are no results, or they can't be read.
    """
    dataset = results_dataset(run, storage)
    names = list(columns) if columns is not None else [n for n in dataset.schema.names if n != "steps"]
    if unknown := [name for name in names if name not in dataset.schema.names]:
        known = ", ".join(dataset.schema.names)
        raise ValueError(f"{run}: no such column: {', '.join(unknown)}; there are {known}")
    needed = columns_to_read(names, dataset.schema.names)
    try:
        table = dataset.to_table(columns=needed)
    except (pa.ArrowException, OSError):
        table = pa.concat_tables(_read_each(dataset, run, needed, storage))
    return tell_unfinished(table).select(names)


def read_trajectories(run: str, images: bool = True, storage: StorageConfig | None = None) -> pa.Table:
    """One row per step: the record's `record_id`, `work_id` and `instruction` (as `goal`), then the
    step's own columns.

    Args:
        run: the run's directory.
        images: whether to read the step images.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there are no results, they can't be read, or they are of a job without steps.
    """
    dataset = results_dataset(run, storage)
    if "steps" not in dataset.schema.names:
        raise StoreError(f"{run}: is no edit run: its records have no steps")
    columns = [*_HEAD, "steps"]
    try:
        return _collect_steps(dataset.to_batches(columns=columns, **_BOUNDED), images)
    except (pa.ArrowException, OSError):
        tables = _read_each(dataset, run, columns, storage)
        return _collect_steps((batch for table in tables for batch in table.to_batches()), images)


def _collect_steps(batches: Iterable[pa.RecordBatch], images: bool) -> pa.Table:
    tables = []
    for batch in batches:
        parents = batch["steps"].value_parent_indices()
        steps = batch["steps"].flatten()
        columns = {name: batch[key].take(parents) for key, name in _HEAD.items()}
        for field in schema.STEP:
            if images or field.name != "image":
                columns[field.name] = steps.field(field.name)
        tables.append(pa.table(columns))
    fields = [(name, pa.string()) for name in _HEAD.values()]
    fields += [(f.name, f.type) for f in schema.STEP if images or f.name != "image"]
    whole = pa.schema(fields)
    return pa.concat_tables([table.cast(whole) for table in tables]) if tables else whole.empty_table()
