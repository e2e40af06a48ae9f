"""Opens Parquet manifests as streams, and turns the errors of reading any manifest into `ManifestError`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.csv_rows import refuse_columns_twice
from mira_batch.storage.stores import open_arrow_filesystem, read_errors, shorten_error

_BUFFER = 1 << 20
"""Bytes read ahead of a column. pyarrow's default reads a row group's columns whole before the first row."""


def open_parquet(path: str, storage: StorageConfig, int96: str = "us") -> pq.ParquetFile:
    """Open a Parquet file for reading page by page.

    Args:
        path: its absolute path or URI.
        storage: how an object store is reached.
        int96: the unit of times that are written as Spark does (INT96). In nanoseconds, Arrow's default,
            those beyond the year 2262 would come out as others, without an error.

    Raises:
        ManifestError: it can't be opened as Parquet.
        StoreError: no such scheme, or the package for it isn't installed.
    """
    fs, name = open_arrow_filesystem(path, storage)
    try:
        file = pq.ParquetFile(
            name,
            filesystem=fs,
            pre_buffer=False,
            buffer_size=_BUFFER,
            coerce_int96_timestamp_unit=int96,
        )
        _ = file.schema_arrow.names  # not valid UTF-8 in every file
        return file
    except (*read_errors(), pa.ArrowException) as error:
        raise ManifestError(f"{path}: can't be read as Parquet: {shorten_error(error)}") from error


def read_batches(
    parquet: pq.ParquetFile, path: str, row_group: int, rows: int, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a row group, so many at a time.

    Args:
        parquet: the file.
        path: its name, for messages.
        row_group: which, from 0.
        rows: most of a batch.
        columns: which to read; None reads all.

    Raises:
        ManifestError: Arrow refuses a column as a whole, for bad text in one that is stored as a dictionary,
            say; it names the column.
        read_errors(): it can't be read to its end.
    """
    names = None if columns is None else list(columns)
    try:
        yield from parquet.iter_batches(rows, row_groups=[row_group], columns=names)
    except pa.ArrowException as error:
        for name in names or parquet.schema_arrow.names:
            try:
                for _ in parquet.iter_batches(rows, row_groups=[row_group], columns=[name]):
                    pass
            except pa.ArrowException as own:
                raise ManifestError(
                    f"{path}: row group {row_group}: the column {name!r} can't be read "
                    f"({shorten_error(own)}); write it again, or leave it out: input.columns.metadata names "
                    "the columns to carry along"
                ) from error
        raise


def find_int96_columns(parquet: pq.ParquetFile, among: Sequence[str]) -> list[str]:
    """Which of these columns hold times as Spark writes them.

    Args:
        parquet: the file.
        among: names of columns.
    """
    leaves = (parquet.schema.column(index) for index in range(len(parquet.schema)))
    return [leaf.path for leaf in leaves if leaf.physical_type == "INT96" and leaf.path in among]


@contextmanager
def explain_read_errors(path: str) -> Iterator[None]:
    """Turn what reading a manifest file raises, Parquet or text, into an error that names the file.

    Raises:
        ManifestError: instead of the reader's own errors.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fix = "it is cut off or damaged, so copy it again"
        if "Not a gzipped file" in str(error):
            fix = "compress it, or drop .gz from its name"
        raise ManifestError(f"{path}: can't be read to its end: {shorten_error(error)}; {fix}") from error
    except (*read_errors(), pa.ArrowException) as error:
        raise ManifestError(f"{path}: can't be read to its end: {shorten_error(error)}") from error


def refuse_names_twice(path: str, schema: pa.Schema) -> None:
    """Refuse a file in which two columns, or two fields of a struct, have one name.

    Args:
        path: of the file.
        schema: of the file.

    Raises:
        ManifestError: it has; it names both places.
    """
    refuse_columns_twice(path, schema.names)
    for field in schema:
        _refuse_fields_twice(path, field.name, field.type)


def _refuse_fields_twice(path: str, column: str, kind: Any) -> None:
    fields = [kind.field(index) for index in range(kind.num_fields)]
    if pa.types.is_struct(kind):
        refuse_columns_twice(path, [f"{column}.{field.name}" for field in fields])
    for field in fields:
        _refuse_fields_twice(
            path, f"{column}.{field.name}" if pa.types.is_struct(kind) else column, field.type
        )


def may_hold_images(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold images: bytes, or bytes somewhere inside."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return binary or any(may_hold_images(kind.field(i).type) for i in range(kind.num_fields))


def sum_stored_bytes(parquet: pq.ParquetFile, row_group: int, column: str) -> int:
    """How many bytes a column of a row group takes in the file, compressed, all its leaves together.

    Args:
        parquet: the file.
        row_group: which, from 0.
        column: name of a column, nested or not.
    """
    group = parquet.metadata.row_group(row_group)
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(
        chunk.total_compressed_size for chunk in chunks if f"{chunk.path_in_schema}.".startswith(f"{column}.")
    )
