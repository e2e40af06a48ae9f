"""Reads manifests, row by row, whatever their form, and says exactly what is wrong with a row.

A manifest is cut into pieces (a JSONL or CSV file; some row groups of a Parquet file) that are read in
parallel. A row that can't be used becomes a `Reject` and never stops the rest; a manifest that can't be
used at all raises `ManifestError`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.bulk_edit import Columns, InputConfig, StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.storage.faults import patience
from mira_batch.storage.files import READ_ERRORS, filesystem, one_line, version_of
from mira_batch.storage.parquet import holds_bytes, open_parquet, readable, stored_bytes
from mira_batch.storage.rows import Place, Record, Reject, validated

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_FORMATS |= {".csv": "csv"}
_GLOB = re.compile(r"[*?\[]")
_ROWS_PER_PIECE = 50_000
_HASHED_BYTES = 64_000_000
_ROWS_WITH_IMAGES = 16
"""Rows in memory at once where a Parquet file holds embedded images."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    path: str
    """Absolute path or URI."""
    format: str
    version: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a manifest that one task reads."""

    path: str
    format: str
    row_groups: tuple[int, ...] = ()
    image_bytes: int = 0
    """Of its row groups' image columns the largest, in bytes as stored; 0 where none holds images."""


def list_files(source: InputConfig, storage: StorageConfig) -> list[ManifestFile]:
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
        ManifestFile(_full(fs, name, location), form, _version(fs, name, info, location))
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


def cut(files: list[ManifestFile], source: InputConfig, storage: StorageConfig) -> list[Piece]:
    """Cut a manifest into pieces, in order, and check that each file has the columns.

    Raises:
        ManifestError: a file can't be read at all, or lacks a column.
    """
    pieces: list[Piece] = []
    for file in files:
        if file.format != "parquet":
            if keys := _first_keys(file, storage):
                _check_columns(file.path, keys, source.columns)
            pieces.append(Piece(file.path, file.format))
            continue
        with open_parquet(file.path, storage) as parquet:
            _check_columns(file.path, set(parquet.schema_arrow.names), source.columns)
            pieces += _row_groups(file, parquet, source.columns.image)
    return pieces


def _row_groups(file: ManifestFile, parquet: pq.ParquetFile, image: str) -> Iterator[Piece]:
    """A Parquet file's row groups, as many in a piece as have enough rows."""
    embedded = holds_bytes(parquet.schema_arrow.field(image).type)
    groups, rows, largest = [], 0, 0
    for index in range(parquet.num_row_groups):
        groups.append(index)
        rows += parquet.metadata.row_group(index).num_rows
        largest = max(largest, stored_bytes(parquet, index, image) if embedded else 0)
        if rows >= _ROWS_PER_PIECE or index == parquet.num_row_groups - 1:
            yield Piece(file.path, file.format, tuple(groups), largest)
            groups, rows, largest = [], 0, 0


def _first_keys(file: ManifestFile, storage: StorageConfig, rows: int = 20) -> set[str]:
    """The keys of the first rows; none where none of them is an object, which their rejects will say."""
    keys: set[str] = set()
    with readable(file.path):
        for _, row in islice(_raw_rows(Piece(file.path, file.format), storage), rows):
            if isinstance(row, dict):
                keys |= row.keys()
    return keys


def _check_columns(path: str, found: set[str], columns: Columns) -> None:
    missing = [
        f"{name!r} (set input.columns.{field} if it has another name)"
        for field, name in columns.model_dump().items()
        if name not in found
    ]
    if missing:
        names = ", ".join(sorted(found)) or "none"
        raise ManifestError(f"{path}: lacks the column {' and '.join(missing)}; columns found: {names}")


def read_piece(piece: Piece, source: InputConfig, storage: StorageConfig) -> Iterator[Record | Reject]:
    """Every row of a piece, in order, as a valid record or as a reject with its reason.

    Raises:
        ManifestError: the file can't be read to its end.
    """
    base = piece.path.rsplit("/", 1)[0]
    with readable(piece.path):
        for where, row in _raw_rows(piece, storage):
            if isinstance(row, str):
                yield Reject(str(where), None, "row", row)
            else:
                place = where if isinstance(where, Place) else None
                yield validated(str(where), row, source.columns, base, place)


def _raw_rows(piece: Piece, storage: StorageConfig) -> Iterator[tuple[Place | str, dict[str, Any] | str]]:
    """(where, row), or (where, problem) for what is not even a row."""
    match piece.format:
        case "parquet":
            yield from _parquet_rows(piece, storage)
        case "jsonl":
            yield from _json_rows(piece.path, storage)
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


def _json_rows(path: str, storage: StorageConfig) -> Iterator[tuple[str, dict[str, Any] | str]]:
    fs, name = filesystem(path, storage)
    with patience(storage.retry_seconds)(fs.open, name, "rb", compression="infer") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"{path}:{number}", f"is not valid JSON: {error}"
                continue
            is_object = isinstance(row, dict)
            yield f"{path}:{number}", row if is_object else "is JSON, but not an object {…}"


def _csv_rows(path: str, storage: StorageConfig) -> Iterator[tuple[str, dict[str, Any] | str]]:
    fs, name = filesystem(path, storage)
    with patience(storage.retry_seconds)(fs.open, name, "rb", compression="infer") as file:
        binary: Any = file
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")
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
