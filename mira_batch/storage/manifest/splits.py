"""Reads the rows of a piece of a manifest as they are written; `rows` says which of them can be used."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.parquet import holds_bytes, open_parquet, readable
from mira_batch.storage.manifest.rows import Place
from mira_batch.storage.stores.faults import patience
from mira_batch.storage.stores.files import filesystem

_ROWS_WITH_IMAGES = 16
"""Rows in memory at once where a Parquet file holds embedded images."""
_LINE = 1 << 16
"""Bytes that are fetched at first to complete a line."""
_BLOCK, _REQUESTS = 8_000_000, 4
"""To count lines: bytes of a request, and how many are in memory at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a manifest that one task reads."""

    path: str
    format: str
    size: int
    """Bytes that it takes in the file, as stored."""
    row_groups: tuple[int, ...] = ()
    """Of a Parquet file."""
    image_bytes: int = 0
    """Of its row groups' image columns the largest, in bytes as stored; 0 where none holds images."""
    start: int | None = None
    """Of a JSONL file that may be cut, the first byte: its lines are those that start in the `size` bytes
    from here. None: it is the whole file."""
    file_size: int = 0
    """Of such a file, in bytes."""
    first_line: int | None = None
    """The number of its first line in the file, once `numbered` has counted. None: not counted yet."""


def raw_rows(piece: Piece, storage: StorageConfig) -> Iterator[tuple[Place | str, dict[str, Any] | str]]:
    """(where, row), or (where, problem) for what is not even a row."""
    match piece.format:
        case "parquet":
            yield from _parquet_rows(piece, storage)
        case "jsonl":
            yield from _json_rows(piece, storage)
        case _:
            yield from _csv_rows(piece.path, storage)


def _parquet_rows(piece: Piece, storage: StorageConfig) -> Iterator[tuple[Place, dict[str, Any]]]:
    with open_parquet(piece.path, storage) as parquet:
        schema = parquet.schema_arrow
        light = not any(holds_bytes(field.type) for field in schema)
        rows_per_read = 4096 if light else _ROWS_WITH_IMAGES
        for group in piece.row_groups or range(parquet.num_row_groups):
            index = 0
            for batch in parquet.iter_batches(rows_per_read, row_groups=[group]):
                for row in batch.to_pylist():
                    yield Place(piece.path, group, index), row
                    index += 1


def _json_rows(piece: Piece, storage: StorageConfig) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with _opened(piece.path, storage) if piece.start is None else _own_lines(piece, storage) as lines:
        for number, line in enumerate(lines, _first_line(piece, storage)):
            if not line.strip():
                continue
            where = f"{piece.path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield where, f"is not valid JSON: {error}"
                continue
            yield where, row if isinstance(row, dict) else "is JSON, but not an object {…}"


def _opened(path: str, storage: StorageConfig) -> AbstractContextManager[Any]:
    """A text file from its start, unpacked."""
    fs, name = filesystem(path, storage)
    return patience(storage.retry_seconds)(fs.open, name, "rb", compression="infer")


def _own_lines(piece: Piece, storage: StorageConfig) -> io.BytesIO:
    """The lines that start in a piece, the last one to its end.

    They are fetched in one request: of its open files s3fs copies megabytes for each line that is read.
    """
    begin, end = _bounds(piece)
    data = _fetch(piece.path, begin, end, storage)
    if piece.start:
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""  # the rest of the line before
    lines, more = io.BytesIO(data), _LINE
    lines.seek(0, io.SEEK_END)
    while data and not data.endswith(b"\n") and end < piece.file_size:
        data = _fetch(piece.path, end, min(end + more, piece.file_size), storage)
        end, more = end + len(data), 2 * more
        data = data[: data.find(b"\n") + 1] or data
        lines.write(data)
    lines.seek(0)
    return lines


def _bounds(piece: Piece) -> tuple[int, int]:
    """The bytes to look at: with the one in front, which tells whether a line starts at the piece's first."""
    start = piece.start or 0
    return max(start - 1, 0), start + piece.size


def _fetch(path: str, begin: int, end: int, storage: StorageConfig) -> bytes:
    """A byte range.

    Raises:
        ManifestError: the file is shorter than it was when it was cut.
    """
    fs, name = filesystem(path, storage)
    data: Any = patience(storage.retry_seconds)(fs.cat_file, name, start=begin, end=end)
    if len(data) != end - begin:
        raise ManifestError(f"{path}: was changed while it was read; run the same command again")
    return data


def numbered(pieces: Sequence[Piece], storage: StorageConfig) -> list[Piece]:
    """The same pieces (all those of each file, in order), knowing the numbers of their first lines.

    Files that are cut are read for it once, local ones in half a second for a million rows.

    Raises:
        ManifestError: one can't be read to its end.
    """

    def line_ends(one: Piece, following: Piece) -> int:
        if not following.start:  # another file
            return 0
        with readable(one.path):
            return _line_ends(one.path, _bounds(one)[0], _bounds(following)[0], storage)

    found, ends = list(pieces[:1]), 0
    with ThreadPoolExecutor(_REQUESTS) as pool:
        counts = pool.map(line_ends, pieces, pieces[1:])
        for piece, count in zip(pieces[1:], counts, strict=True):
            ends = ends + count if piece.start else 0
            found.append(replace(piece, first_line=ends + 2 if piece.start else 1))
    return found


def _first_line(piece: Piece, storage: StorageConfig) -> int:
    """The number of a piece's first line: two more than the line ends before the byte in front of it, since
    the first that follows ends the line before."""
    if piece.first_line or not piece.start:
        return piece.first_line or 1
    return _line_ends(piece.path, 0, _bounds(piece)[0], storage) + 2


def _line_ends(path: str, begin: int, end: int, storage: StorageConfig) -> int:
    blocks = range(begin, end, _BLOCK)
    return sum(_fetch(path, at, min(at + _BLOCK, end), storage).count(b"\n") for at in blocks)


def _csv_rows(path: str, storage: StorageConfig) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with _opened(path, storage) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.reader(text, strict=True)
        try:
            header = next((row for row in rows if row), [])
        except csv.Error as error:
            raise ManifestError(f"{path}: its header is not valid CSV: {error}") from error
        while True:
            where = f"{path}:{rows.line_num + 1}"
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, f"is not valid CSV: {error}"
                continue
            if len(row) > len(header):
                yield where, f"has more fields than the header ({len(header)})"
            elif row:
                yield where, dict(zip(header, row, strict=False))
