"""Lists the files of a manifest, and splits them into parts that are read in parallel.

A split is some megabytes of a JSONL file's lines, some row groups of a Parquet file, or a CSV or compressed
file as a whole. A manifest that can't be used at all raises `ManifestError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pyarrow.parquet as pq

from mira_batch.config.base import is_remote
from mira_batch.config.shared import Columns, ImageColumns, ManifestConfig, StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.core.text import clean_text
from mira_batch.storage.manifest.encodings import UTF8, find_mark
from mira_batch.storage.manifest.made import leave_out_made
from mira_batch.storage.manifest.metadata import is_encodable
from mira_batch.storage.manifest.parquet import (
    explain_read_errors,
    may_hold_images,
    open_parquet,
    refuse_names_twice,
    sum_stored_bytes,
)
from mira_batch.storage.manifest.partitions import Partition, find_partition
from mira_batch.storage.manifest.splits import Split, number_lines, read_raw_rows
from mira_batch.storage.source import Source
from mira_batch.storage.stores import (
    FileInfo,
    explain_refusal,
    find_files,
    read_errors,
    read_range,
    shorten_error,
)

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_FORMATS |= {".csv": "csv"}
SPLIT_BYTES = 8_000_000
"""Of a JSONL file, some 40,000 rows: a second's or two's work, so a large one has more splits than CPUs."""
_ROWS_PER_SPLIT = 50_000
_HASHED_BYTES = 64_000_000
"""Local files up to this size are known by their content."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of a manifest."""

    path: str
    """Absolute path or URI."""
    format: str
    """parquet, jsonl or csv."""
    version: str
    """What tells that the file changed: a digest of its content, or what its store knows of it."""
    size: int | None = None
    """In bytes, as stored; None where the server doesn't say."""
    partition: Partition = ()
    """Columns that its folders hold."""


def list_files(source: ManifestConfig, storage: StorageConfig, output: str = "") -> list[ManifestFile]:
    """The manifest's files, sorted by path.

    Args:
        source: names the manifest: a file, a directory or a glob.
        storage: how an object store is reached.
        output: `output.uri`: results that lie among the manifest's files are no part of it; neither are
            exports.

    Raises:
        ManifestError: there are none, or the location can't be read.
        StoreError: no such scheme, or the package for it isn't installed.
    """
    location = source.manifest
    try:
        found = leave_out_made(find_files(location, storage), location, output, storage)
    except read_errors() as error:
        why = explain_refusal(error) or "check the path and the credentials"
        raise ManifestError(
            f"{location}: the manifest can't be listed; {why} ({shorten_error(error)})"
        ) from error
    files = [
        _make_file(location, file, form)
        for file in found
        if (form := _detect_format(file.location)) and file.size != 0
    ]
    if files:
        return files
    if any(_detect_format(file.location) for file in found):
        raise ManifestError(f"{location}: the manifest is empty (0 bytes)")
    if found:
        raise ManifestError(
            f"{location}: none of the {len(found)} files found is a manifest; "
            f"names must end in {', '.join(_FORMATS)} (.gz may follow for jsonl and csv)"
        )
    raise ManifestError(f"{location}: no such manifest file, directory or glob match")


def _make_file(location: str, file: FileInfo, form: str) -> ManifestFile:
    path = file.location
    if not is_encodable(path):
        raise ManifestError(f"{clean_text(path)}: its name is not valid UTF-8; rename it")
    try:
        version = _identify_version(file)
    except OSError as error:
        raise ManifestError(f"{path}: can't be read: {shorten_error(error)}") from error
    return ManifestFile(path, form, version, file.size, find_partition(location, path))


def find_manifest(source: ManifestConfig, storage: StorageConfig, output: str = "") -> Source:
    """A manifest as what a job reads.

    Args:
        source, storage, output: as `list_files` takes them.

    Raises:
        ManifestError: there is none, or the location can't be read.
    """
    files = list_files(source, storage, output)
    return Source(
        location=source.manifest,
        files=[(file.path, file.version) for file in files],
        split=lambda: number_lines(split_manifest(files, source, storage), storage),
        split_bytes=SPLIT_BYTES,
    )


def _identify_version(file: FileInfo) -> str:
    """What tells that a manifest changed. A local one of ordinary size by content, so that one that was only
    touched or written again is the same. (A run also depends on the manifest's path, so a copy elsewhere
    is another manifest.)"""
    if is_remote(file.location) or (file.size or 0) > _HASHED_BYTES:
        return file.version
    return content_hash(Path(file.location).read_bytes())


def _detect_format(name: str) -> str | None:
    name = name.lower()
    stem = name.removesuffix(".gz")
    form = next((f for suffix, f in _FORMATS.items() if stem.endswith(suffix)), None)
    return None if form == "parquet" and stem != name else form


def split_manifest(files: list[ManifestFile], source: ManifestConfig, storage: StorageConfig) -> list[Split]:
    """Split a manifest, in order, and check that each file has the columns.

    Args:
        files: as `list_files` gives them.
        source: what the manifest calls its columns.
        storage: how an object store is reached.

    Raises:
        ManifestError: a file can't be read at all, or lacks a column.
        StoreError: no such scheme, or the package for it isn't installed.
    """
    splits: list[Split] = []
    for file in files:
        folders = {name for name, _ in file.partition}
        if file.format == "parquet":
            with open_parquet(file.path, storage) as parquet:
                refuse_names_twice(file.path, parquet.schema_arrow)
                _check_columns(file, folders | set(parquet.schema_arrow.names), source.columns)
                splits += _split_row_groups(file, parquet, source.columns.image)
            continue
        if keys := _read_first_keys(file, source, storage):
            _check_columns(file, folders | keys, source.columns)
        splits += _split_lines(file, source, storage)
    return splits


def _split_lines(file: ManifestFile, source: ManifestConfig, storage: StorageConfig) -> Iterator[Split]:
    """A text file, in splits of at least `SPLIT_BYTES` where reading may start at any line.

    Not so in CSV, where a quoted field may hold line ends, nor in what is compressed or not in UTF-8; and a
    web server may give no part of a file, or compress it on the way.
    """
    name = file.path.lower()
    whole = file.format != "jsonl" or name.endswith(".gz") or name.startswith("http")
    if whole or not file.size:
        yield Split(file.path, file.format, file.size or 0, partition=file.partition)
        return
    count = max(1, file.size // SPLIT_BYTES)
    if count > 1:
        with explain_read_errors(file.path):
            mark = find_mark(read_range(file.path, storage, 0, 4))
        count = count if (mark or source.encoding) == UTF8 else 1
    bounds = [file.size * i // count for i in range(count + 1)]
    for start, end in pairwise(bounds):
        yield Split(
            *(file.path, file.format, end - start), start=start, file_size=file.size, partition=file.partition
        )


def _split_row_groups(file: ManifestFile, parquet: pq.ParquetFile, image: str) -> Iterator[Split]:
    """A Parquet file's row groups, as many in a split as have enough rows."""
    schema = parquet.schema_arrow
    embedded = image in schema.names and may_hold_images(schema.field(image).type)
    groups, rows, size, largest = [], 0, 0, 0
    for index in range(parquet.num_row_groups):
        groups.append(index)
        group = parquet.metadata.row_group(index)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        largest = max(largest, sum_stored_bytes(parquet, index, image) if embedded else 0)
        if rows >= _ROWS_PER_SPLIT or index == parquet.num_row_groups - 1:
            yield Split(file.path, file.format, size, tuple(groups), largest, partition=file.partition)
            groups, rows, size, largest = [], 0, 0, 0


def _read_first_keys(
    file: ManifestFile, source: ManifestConfig, storage: StorageConfig, rows: int = 20
) -> set[str]:
    """The keys of the first rows; none where none of them is an object, which their rejects will say."""
    keys: set[str] = set()
    with explain_read_errors(file.path):
        for _, row in islice(read_raw_rows(Split(file.path, file.format, 0), source, storage), rows):
            if isinstance(row, dict):
                keys |= row.keys()
    return keys


def _check_columns(file: ManifestFile, found: set[str], columns: ImageColumns) -> None:
    missing = [
        f"{name!r} (set input.columns.{field} if it has another name)"
        for field, name in columns.names().items()
        if name not in found
    ]
    if isinstance(columns, Columns) and file.format != "jsonl":  # whose rows may leave out what they lack
        missing += [
            f"{name!r}, which input.columns.metadata names"
            for name in columns.metadata or ()
            if name not in found
        ]
    if missing:
        names = ", ".join(_show_name(name) for name in sorted(found)) or "none"
        raise ManifestError(
            f"{file.path}: lacks the column {' and '.join(missing)}; columns found: {names}"
            f"{_suggest_separator(found, columns.names().values()) if file.format == 'csv' else ''}"
        )


def _show_name(name: str) -> str:
    """A column's name as it is, or quoted where it would be misread."""
    return name if name == name.strip() and name.isprintable() and name else repr(name)


def _suggest_separator(found: set[str], wanted: Iterable[str]) -> str:
    """What to do about a header that has all columns, but not between commas."""
    for separator, name in {";": "';'", "\t": "tabs", "|": "'|'"}.items():
        parts = {
            part.strip(' "') for column in found if separator in column for part in column.split(separator)
        }
        if parts.issuperset(wanted):
            return f"; they are separated by {name}: write the file with commas, or as Parquet or JSONL"
    return ""
