"""Reads manifests, row by row, whatever their form, and says exactly what is wrong with a row.

A manifest is cut into pieces that are read in parallel: some megabytes of a JSONL file's lines, some row
groups of a Parquet file, a CSV or compressed file as a whole. A row that can't be used becomes a `Reject` and
never stops the rest; a manifest that can't be used at all raises `ManifestError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import ImageColumns, ManifestConfig, StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.storage.manifest.parquet import holds_bytes, open_parquet, readable, stored_bytes
from mira_batch.storage.manifest.rows import Place, Record, Reject, validated
from mira_batch.storage.manifest.splits import Piece, numbered, raw_rows
from mira_batch.storage.source import Source
from mira_batch.storage.stores.faults import patience
from mira_batch.storage.stores.files import READ_ERRORS, filesystem, one_line, version_of

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_FORMATS |= {".csv": "csv"}
_GLOB = re.compile(r"[*?\[]")
PIECE_BYTES = 8_000_000
"""Of a JSONL file, some 40,000 rows: a second's or two's work, so a large one has more pieces than CPUs."""
_ROWS_PER_PIECE = 50_000
_HASHED_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class ManifestFile:
    path: str
    """Absolute path or URI."""
    format: str
    version: str
    size: int | None = None
    """In bytes, as stored; None where the server doesn't say."""


def list_files(source: ManifestConfig, storage: StorageConfig) -> list[ManifestFile]:
    """The manifest's files, sorted by path.

    Raises:
        ManifestError: there are none, or the location can't be read.
    """
    location = source.manifest
    fs, path = filesystem(location, storage)
    try:
        found = patience(storage.retry_seconds)(_find, fs, path)
    except READ_ERRORS as error:
        raise ManifestError(
            f"{location}: the manifest can't be listed; check the path and the credentials "
            f"({one_line(error)})"
        ) from error
    files = [
        ManifestFile(_full(fs, name, location), form, _version(fs, name, info, location), info.get("size"))
        for name, info in sorted(found.items())
        if (form := _format(name)) and info.get("size") != 0
    ]
    if files:
        return files
    if any(_format(name) for name in found):
        raise ManifestError(f"{location}: the manifest is empty (0 bytes)")
    if found:
        raise ManifestError(
            f"{location}: none of the {len(found)} files found is a manifest; "
            f"names must end in {', '.join(_FORMATS)} (.gz may follow for jsonl and csv)"
        )
    raise ManifestError(f"{location}: no such manifest file, directory or glob match")


def find_manifest(source: ManifestConfig, storage: StorageConfig) -> Source:
    """A manifest as what a job reads.

    Raises:
        ManifestError: there is none, or the location can't be read.
    """
    files = list_files(source, storage)
    return Source(
        location=source.manifest,
        files=[(file.path, file.version) for file in files],
        split=lambda: numbered(cut(files, source, storage), storage),
        split_bytes=PIECE_BYTES,
    )


def _find(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    if _GLOB.search(path):
        matches: Any = fs.glob(path, detail=True)
        return {name: info for name, info in matches.items() if info["type"] == "file"}
    if fs.isdir(path):
        listing: Any = fs.find(path, detail=True)
        hidden = re.compile(r"(^|/)[._]")
        return {name: info for name, info in listing.items() if not hidden.search(name[len(path) :])}
    try:
        return {path: fs.info(path)}
    except FileNotFoundError:
        return {}


def _version(fs: AbstractFileSystem, name: str, info: dict[str, Any], location: str) -> str:
    """What tells that a manifest changed. A local one of ordinary size by content, so that one that was only
    touched or written again is the same. (A run also depends on the manifest's path, so a copy elsewhere
    is another manifest.)"""
    if is_remote(location) or info["size"] > _HASHED_BYTES:
        return version_of(info)
    data: Any = fs.cat_file(name)
    return content_hash(data)


def _format(name: str) -> str | None:
    name = name.lower()
    stem = name.removesuffix(".gz")
    form = next((f for suffix, f in _FORMATS.items() if stem.endswith(suffix)), None)
    return None if form == "parquet" and stem != name else form


def _full(fs: AbstractFileSystem, name: str, location: str) -> str:
    return str(fs.unstrip_protocol(name)) if is_remote(location) else name


def cut(files: list[ManifestFile], source: ManifestConfig, storage: StorageConfig) -> list[Piece]:
    """Cut a manifest into pieces, in order, and check that each file has the columns.

    Raises:
        ManifestError: a file can't be read at all, or lacks a column.
    """
    pieces: list[Piece] = []
    for file in files:
        if file.format == "parquet":
            with open_parquet(file.path, storage) as parquet:
                _check_columns(file.path, set(parquet.schema_arrow.names), source.columns)
                pieces += _row_groups(file, parquet, source.columns.image)
            continue
        if keys := _first_keys(file, storage):
            _check_columns(file.path, keys, source.columns)
        pieces += _line_ranges(file)
    return pieces


def _line_ranges(file: ManifestFile) -> Iterator[Piece]:
    """A text file, in pieces of at least `PIECE_BYTES` where reading may start at any line.

    Not so in CSV, where a quoted field may hold line ends, nor in what is compressed; and a web server may
    give no part of a file, or compress it on the way.
    """
    name = file.path.lower()
    whole = file.format != "jsonl" or name.endswith(".gz") or name.startswith("http")
    if whole or not file.size:
        yield Piece(file.path, file.format, file.size or 0)
        return
    count = max(1, file.size // PIECE_BYTES)
    bounds = [file.size * i // count for i in range(count + 1)]
    for start, end in pairwise(bounds):
        yield Piece(file.path, file.format, end - start, start=start, file_size=file.size)


def _row_groups(file: ManifestFile, parquet: pq.ParquetFile, image: str) -> Iterator[Piece]:
    """A Parquet file's row groups, as many in a piece as have enough rows."""
    embedded = holds_bytes(parquet.schema_arrow.field(image).type)
    groups, rows, size, largest = [], 0, 0, 0
    for index in range(parquet.num_row_groups):
        groups.append(index)
        group = parquet.metadata.row_group(index)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        largest = max(largest, stored_bytes(parquet, index, image) if embedded else 0)
        if rows >= _ROWS_PER_PIECE or index == parquet.num_row_groups - 1:
            yield Piece(file.path, file.format, size, tuple(groups), largest)
            groups, rows, size, largest = [], 0, 0, 0


def _first_keys(file: ManifestFile, storage: StorageConfig, rows: int = 20) -> set[str]:
    """The keys of the first rows; none where none of them is an object, which their rejects will say."""
    keys: set[str] = set()
    with readable(file.path):
        for _, row in islice(raw_rows(Piece(file.path, file.format, 0), storage), rows):
            if isinstance(row, dict):
                keys |= row.keys()
    return keys


def _check_columns(path: str, found: set[str], columns: ImageColumns) -> None:
    missing = [
        f"{name!r} (set input.columns.{field} if it has another name)"
        for field, name in columns.model_dump().items()
        if name not in found
    ]
    if missing:
        names = ", ".join(sorted(found)) or "none"
        raise ManifestError(f"{path}: lacks the column {' and '.join(missing)}; columns found: {names}")


def read_piece(piece: Piece, source: ManifestConfig, storage: StorageConfig) -> Iterator[Record | Reject]:
    """Every row of a piece, in order, as a valid record or as a reject with its reason.

    Raises:
        ManifestError: the file can't be read to its end.
    """
    base = piece.path.rsplit("/", 1)[0]
    with readable(piece.path):
        for where, row in raw_rows(piece, storage):
            if isinstance(row, str):
                yield Reject(str(where), None, "row", row)
            else:
                place = where if isinstance(where, Place) else None
                yield validated(str(where), row, source.columns, base, place)
