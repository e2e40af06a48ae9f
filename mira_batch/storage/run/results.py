"""Result rows: written as one Parquet file per shard, read back as outputs and as trajectories.

A file under `results/` is the commit of its shard (docs/architecture.md), so everything about a shard
is in its one file, and any Parquet reader sees each record exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.types import UNFINISHED, Status
from mira_batch.storage import schema
from mira_batch.storage.run.layout import RUN, job_of, parse_run, shard_of
from mira_batch.storage.stores import (
    READ_ERRORS,
    ArrowFileSystem,
    file_exists,
    list_files_below,
    open_arrow_filesystem,
    read_bytes,
    shorten_error,
)

_GROUP_BYTES = 64_000_000
"""Row groups are closed at about this size, so that readers can stream and no column chunk nears 2 GiB."""
_GROUP_ROWS = 64
_RUN_BYTES = 100_000_000
_BOUNDED: Any = {"batch_size": _GROUP_ROWS, "cache_metadata": False}
"""Scans keep neither whole shards nor the footers of all files in memory."""
_EARLY = pc.SetLookupOptions(pa.array(sorted(UNFINISHED), pa.string()))
T = TypeVar("T", pa.Table, pa.RecordBatch)


def results_file(
    rows: Iterable[Mapping[str, Any]], fields: pa.Schema, footer: Mapping[bytes, str] | None = None
) -> memoryview:
    """A shard's result file, whole, in memory: it is put once and never streamed.

    Args:
        rows: the shard's rows.
        fields: their schema.
        footer: goes into the file's own metadata, which can be read without its rows.
    """
    sink = pa.BufferOutputStream()
    # Images are compressed already; compressing them again costs time and gains nothing.
    leaves = dict(_find_leaves(fields))
    compression: Any = {name: "NONE" if image else "ZSTD" for name, image in leaves.items()}
    others: Any = [name for name, image in leaves.items() if not image]
    with pq.ParquetWriter(
        sink,
        fields,
        compression=compression,
        use_dictionary=others,
        write_statistics=others,
        write_page_checksum=True,
    ) as writer:
        for group in _group(rows, pa.struct(fields)):
            writer.write_table(pa.Table.from_pylist(group, schema=fields))
        writer.add_key_value_metadata(dict(footer or {}))
    return memoryview(sink.getvalue()).cast("B")


def explain_misfit(rows: Iterable[Mapping[str, Any]], fields: pa.Schema) -> str | None:
    """Which value of rows does not fit their schema, in words; None where each does by itself."""
    for row in rows:
        for field in fields:
            try:
                pa.array([row[field.name]], field.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                return f"record {row['record_id']!r}: {field.name} is no {field.type}: {shorten_error(error)}"
    return None


def _find_leaves(fields: pa.Schema) -> Iterator[tuple[str, bool]]:
    """Parquet's names of the leaf columns, and whether each holds images."""

    def walk(kind: pa.DataType, name: str, image: bool) -> Iterator[tuple[str, bool]]:
        if pa.types.is_struct(kind):
            for field in kind:
                yield from walk(field.type, f"{name}.{field.name}", kind == schema.IMAGE)
        elif pa.types.is_list(kind):
            yield from walk(kind.value_type, f"{name}.list.element", False)
        else:
            yield name, image and pa.types.is_binary(kind)

    for field in fields:
        yield from walk(field.type, field.name, False)


def _group(rows: Iterable[Mapping[str, Any]], kind: pa.DataType) -> Iterator[list[Mapping[str, Any]]]:
    """Rows by row group, which is closed at its size or number of rows."""
    weigh = _make_weigher(kind) or (lambda _: 0)
    group: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        weight = weigh(row)
        if group and (size + weight > _GROUP_BYTES or len(group) >= _GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += weight
    if group:
        yield group


def _make_weigher(kind: pa.DataType) -> Callable[[Any], int] | None:
    """A function that counts the bytes of the images in a value of this type; None where it can hold none.

    Made once for a file: to ask Arrow for the fields of a type takes longer than to look into a row.
    """
    if kind == schema.IMAGE:
        return lambda image: len(image["bytes"] or b"") if image else 0
    if pa.types.is_struct(kind):
        inside = {field.name: weigh for field in kind if (weigh := _make_weigher(field.type))}
        if inside:
            return lambda value: sum(weigh(value[name]) for name, weigh in inside.items()) if value else 0
    elif pa.types.is_list(kind) and (of_item := _make_weigher(kind.value_type)):
        return lambda items: sum(map(of_item, items)) if items else 0
    return None


def results_dataset(run: str, storage: StorageConfig | None = None) -> ds.Dataset:
    """The committed results of a run of any job as a pyarrow dataset, for scans with bounded memory.

    Rows are as they stand in the files: of a run of release 0.1 those of unfinished records have the status
    `ok`, and `stop_reason` tells them apart. The other readers tell it.

    Args:
        run: the run's directory (`<output>/<run_id>`), or the `results` directory in it.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    storage = storage or StorageConfig()
    fs, files = result_files(run, storage)
    fields = _declare_fields(run, fs, files, storage)
    return ds.FileSystemDataset.from_paths(files, schema=fields, format=ds.ParquetFileFormat(), filesystem=fs)


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
    try:
        with pq.ParquetFile(files[0], filesystem=fs) as parquet:
            found = parquet.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{run}: {files[0]}: is damaged ({shorten_error(error)})") from error
    # Results that were copied without their run.json are an edit's, if they look so.
    return schema.RESULTS if job is None and set(found.names) <= set(schema.RESULTS.names) else found


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
        return job_of(parse_run(read_bytes(where, storage, _RUN_BYTES), where))
    except READ_ERRORS as error:
        raise StoreError(f"{where}: can't be read: {shorten_error(error)}") from error


def result_files(run: str, storage: StorageConfig) -> tuple[ArrowFileSystem, list[str]]:
    """The result files of a run by shard, and the file system that their paths belong to.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    root = make_absolute(run).rstrip("/").removesuffix("/results")
    try:
        listed = list_files_below(f"{root}/results", storage)
    except READ_ERRORS as error:
        raise StoreError(f"{root}/results: can't be listed: {shorten_error(error)}") from error
    shards = {shard: name for name in listed if (shard := shard_of(f"results/{name}")) is not None}
    if not shards and not file_exists(f"{root}/{RUN}", storage):
        raise StoreError(f"{root}: holds no results; give the run's directory, <output>/<run_id>")
    fs, path = open_arrow_filesystem(f"{root}/results", storage)
    return fs, [f"{path}/{shards[shard]}" for shard in sorted(shards)]


def tell_unfinished(table: T) -> T:
    """The same rows, those of unfinished records with that status. Release 0.1 said `ok` of them.

    Args:
        table: rows of results. Without the columns `status` and `stop_reason` they stay as they are.
    """
    names = table.schema.names
    if "status" not in names or "stop_reason" not in names:
        return table
    place = names.index("status")
    said_ok = pc.call_function("equal", [table["status"], pa.scalar(Status.ok.value)])
    early = pc.call_function("is_in", [table["stop_reason"]], _EARLY)
    unfinished = pc.call_function("and", [said_ok, early])
    status = pc.call_function("if_else", [unfinished, pa.scalar(Status.unfinished.value), table["status"]])
    return table.set_column(place, table.schema.field(place), status)


def columns_to_read(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """These columns, and the one beside `status` that `tell_unfinished` needs.

    Args:
        columns: those wanted.
        known: those that there are.
    """
    needed = "status" in columns and "stop_reason" in known and "stop_reason" not in columns
    return [*columns, "stop_reason"] if needed else list(columns)


def take_rows(
    parquet: pq.ParquetFile, rows: Sequence[int], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Some rows of a result file, a table for each row group that holds any; no other row group is read.

    Args:
        parquet: the file.
        rows: their numbers in it, ascending.
        columns: which columns to read; None reads all.
    """
    start, known = 0, parquet.schema_arrow.names
    names = known if columns is None else list(columns)
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        if inside := [row - start for row in rows if start <= row < start + count]:
            table = parquet.read_row_group(group, columns=columns_to_read(names, known))
            yield tell_unfinished(table.take(inside)).select(names)
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
    table = dataset.to_table(columns=columns_to_read(names, dataset.schema.names))
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
    tables = []
    head = {"record_id": "record_id", "work_id": "work_id", "instruction": "goal"}
    for batch in dataset.to_batches(columns=[*head, "steps"], **_BOUNDED):
        parents = batch["steps"].value_parent_indices()
        steps = batch["steps"].flatten()
        columns = {name: batch[key].take(parents) for key, name in head.items()}
        for field in schema.STEP:
            if images or field.name != "image":
                columns[field.name] = steps.field(field.name)
        tables.append(pa.table(columns))
    fields = [(name, pa.string()) for name in head.values()]
    fields += [(f.name, f.type) for f in schema.STEP if images or f.name != "image"]
    whole = pa.schema(fields)
    return pa.concat_tables([table.cast(whole) for table in tables]) if tables else whole.empty_table()
