"""Opens Parquet manifests as streams, and turns whatever is wrong with one into a `ManifestError`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.stores.files import READ_ERRORS, arrow_filesystem, one_line

_BUFFER = 1 << 20
"""Bytes read ahead of a column. pyarrow's default reads a row group's columns whole before the first row."""


def open_parquet(path: str, storage: StorageConfig) -> pq.ParquetFile:
    """Open a file for reading page by page.

    Raises:
        ManifestError: it can't be opened as Parquet.
    """
    fs, name = arrow_filesystem(path, storage)
    try:
        return pq.ParquetFile(name, filesystem=fs, pre_buffer=False, buffer_size=_BUFFER)
    except (*READ_ERRORS, pa.ArrowException) as error:
        raise ManifestError(f"{path}: can't be read as Parquet: {one_line(error)}") from error


@contextmanager
def readable(path: str) -> Iterator[None]:
    """The boundary of a manifest file's contents, Parquet or text."""
    try:
        yield
    except (*READ_ERRORS, EOFError, zlib.error, pa.ArrowException) as error:
        raise ManifestError(f"{path}: can't be read to its end: {one_line(error)}") from error


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold images: bytes, or bytes somewhere inside."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return binary or any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def stored_bytes(parquet: pq.ParquetFile, row_group: int, column: str) -> int:
    """What a column of a row group takes in the file, all its leaves together."""
    group = parquet.metadata.row_group(row_group)
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(
        chunk.total_compressed_size for chunk in chunks if f"{chunk.path_in_schema}.".startswith(f"{column}.")
    )
