"""Reads the rows of a split of a manifest, and numbers the lines of splits.

How a manifest is split is up to `listing`, and which rows can be used up to `rows`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.csv_rows import read_csv_rows
from mira_batch.storage.manifest.encodings import MOST_TEXT, UTF8, begin_text
from mira_batch.storage.manifest.json_rows import read_json_rows
from mira_batch.storage.manifest.parquet import (
    explain_read_errors,
    find_int96_columns,
    may_hold_images,
    open_parquet,
    read_batches,
)
from mira_batch.storage.manifest.partitions import Partition, add_partition
from mira_batch.storage.manifest.rows import Place, Record, Reject, validate_row
from mira_batch.storage.manifest.values import read_int96_values, read_rows
from mira_batch.storage.stores import open_unpacked, read_range

_ROWS_WITH_IMAGES = 16
"""Rows in memory at once where a Parquet file holds embedded images."""
_LINE = 1 << 16
"""Bytes that are fetched at first to complete a line."""
_BLOCK, _REQUESTS = 8_000_000, 4
"""To count lines: bytes of a request, and how many are in memory at once."""


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a manifest that one task reads."""

    path: str
    """Of its file: an absolute path or URI."""
    format: str
    """Of its file: parquet, jsonl or csv."""
    size: int
    """Bytes that it takes in the file, as stored."""
    row_groups: tuple[int, ...] = ()
    """Of a Parquet file, those that belong to the split; empty: all."""
    image_bytes: int = 0
    """Of its row groups' image columns the largest, in bytes as stored; 0 where none holds images."""
    start: int | None = None
    """Of a JSONL file that may be split, the first byte: its lines are those that start in the `size` bytes
    from here. None: it is the whole file."""
    file_size: int = 0
    """Of such a file, in bytes."""
    first_line: int | None = None
    """The number of its first line in the file, once `number_lines` has counted. None: not counted yet."""
    partition: Partition = ()
    """Columns that the file's folders hold for all its rows."""


def read_split(split: Split, source: ManifestConfig, storage: StorageConfig) -> Iterator[Record | Reject]:
    """Every row of a split, in order, as a valid record or as a reject with its reason.

    Args:
        split: which rows of which file.
        source: what the manifest calls its columns.
        storage: how an object store is reached.

    Raises:
        ManifestError: the file can't be read to its end.
        StoreError: no such scheme, or the package for it isn't installed.
    """
    base = split.path.rsplit("/", 1)[0]
    with explain_read_errors(split.path):
        for where, row in read_raw_rows(split, source, storage):
            if isinstance(row, str):
                yield Reject(str(where), None, "row", row)
                continue
            problem = add_partition(row, split.partition) if split.partition else None
            place = where if isinstance(where, Place) else None
            found = validate_row(str(where), row, source.columns, base, place)
            yield found if problem is None else Reject(found.where, found.record_id, *problem)


def read_raw_rows(
    split: Split, source: ManifestConfig, storage: StorageConfig
) -> Iterator[tuple[Place | str, dict[str, Any] | str]]:
    """The rows of a split as they are written, in order. Of a text file only blank lines are passed over.

    Args:
        split: which rows of which file.
        source: which columns are needed, and what text is written in.
        storage: how an object store is reached.

    Yields:
        (where, row), with the row by column; or (where, problem) for what is not even a row. `where` is a
        `Place` in a Parquet file, else "path:line".

    Raises:
        ManifestError: the file can't be opened as Parquet, has an invalid CSV header, is no text, or was
            changed.
        read_errors(), EOFError, zlib.error, pa.ArrowException: it can't be read to its end.
    """
    if split.format == "parquet":
        yield from _read_parquet_rows(split, source.columns.to_read(), storage)
        return
    if split.start:  # in the middle of a file that is in UTF-8
        first_line = _find_first_line(split, storage)
        yield from read_json_rows(_read_own_lines(split, storage), UTF8, split.path, first_line)
        return
    whole = split.start is None
    with open_unpacked(split.path, storage) if whole else _read_own_lines(split, storage) as file:
        reader, encoding = begin_text(file, split.path, source.encoding)
        if split.format == "csv":
            yield from read_csv_rows(reader, encoding, split.path, source.columns.image)
        else:
            yield from read_json_rows(reader, encoding, split.path, first_line=1)


def _read_parquet_rows(
    split: Split, columns: list[str] | None, storage: StorageConfig
) -> Iterator[tuple[Place, dict[str, Any]]]:
    with ExitStack() as stack:
        parquet = stack.enter_context(open_parquet(split.path, storage))
        fields = [field for field in parquet.schema_arrow if columns is None or field.name in columns]
        names = [field.name for field in fields]
        columns = columns and names  # the file's folders may hold the others
        light = not any(may_hold_images(field.type) for field in fields)
        rows_per_read = 4096 if light else _ROWS_WITH_IMAGES
        int96 = find_int96_columns(parquet, names)
        finer = stack.enter_context(open_parquet(split.path, storage, "ns")) if int96 else None
        for group in split.row_groups or range(parquet.num_row_groups):
            nanos = finer.read_row_group(group, columns=int96).combine_chunks() if finer else None
            index = 0
            for batch in read_batches(parquet, split.path, group, rows_per_read, columns):
                rows = read_rows(batch)
                for name, column in zip(int96, nanos.columns if nanos is not None else (), strict=True):
                    same = column.slice(index, len(batch)).combine_chunks()
                    for row, value in zip(rows, read_int96_values(batch[name], same), strict=True):
                        row[name] = value
                for row in rows:
                    yield Place(split.path, group, index), row
                    index += 1


def _read_own_lines(split: Split, storage: StorageConfig) -> io.BytesIO:
    """The lines that start in a split, the last one to its end.

    They are fetched in one request: of its open files s3fs copies megabytes for each line that is read. Of a
    last line that is too long for a row no more is fetched than tells so.
    """
    begin, end = _find_bounds(split)
    data = _read_whole_range(split.path, begin, end, storage)
    if split.start:
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""  # the rest of the line before
    lines, more, most = io.BytesIO(data), _LINE, split.size + MOST_TEXT + 1
    lines.seek(0, io.SEEK_END)
    while data and not data.endswith(b"\n") and end < split.file_size and lines.tell() <= most:
        data = _read_whole_range(split.path, end, min(end + more, split.file_size), storage)
        end, more = end + len(data), 2 * more
        data = data[: data.find(b"\n") + 1] or data
        lines.write(data)
    lines.seek(0)
    return lines


def _find_bounds(split: Split) -> tuple[int, int]:
    """The bytes to look at: with the one in front, which tells whether a line starts at the split's first."""
    start = split.start or 0
    return max(start - 1, 0), start + split.size


def _read_whole_range(path: str, begin: int, end: int, storage: StorageConfig) -> bytes:
    """A byte range that the file must have.

    Raises:
        ManifestError: the file is shorter than it was when it was split.
    """
    data = read_range(path, storage, begin, end)
    if len(data) != end - begin:
        raise ManifestError(f"{path}: was changed while it was read; run the same command again")
    return data


def number_lines(splits: Sequence[Split], storage: StorageConfig) -> list[Split]:
    """The same splits, with the numbers of their first lines.

    Files that are split are read for it once, local ones in half a second for a million rows.

    Args:
        splits: all those of each file, in order.
        storage: how an object store is reached.

    Raises:
        ManifestError: one can't be read to its end.
        StoreError: no such scheme, or the package for it isn't installed.
    """

    def count_line_ends(one: Split, following: Split) -> int:
        if not following.start:  # another file
            return 0
        with explain_read_errors(one.path):
            return _count_line_ends(one.path, _find_bounds(one)[0], _find_bounds(following)[0], storage)

    found, ends = list(splits[:1]), 0
    with ThreadPoolExecutor(_REQUESTS) as pool:
        counts = pool.map(count_line_ends, splits, splits[1:])
        for split, count in zip(splits[1:], counts, strict=True):
            ends = ends + count if split.start else 0
            found.append(replace(split, first_line=ends + 2 if split.start else 1))
    return found


def _find_first_line(split: Split, storage: StorageConfig) -> int:
    """The number of a split's first line: two more than the line ends before the byte in front of it, since
    the first that follows ends the line before."""
    if split.first_line or not split.start:
        return split.first_line or 1
    return _count_line_ends(split.path, 0, _find_bounds(split)[0], storage) + 2


def _count_line_ends(path: str, begin: int, end: int, storage: StorageConfig) -> int:
    blocks = range(begin, end, _BLOCK)
    return sum(_read_whole_range(path, at, min(at + _BLOCK, end), storage).count(b"\n") for at in blocks)
