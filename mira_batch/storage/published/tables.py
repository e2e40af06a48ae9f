"""Data sets as their owners publish them, read as data: Arrow and Parquet of Hugging Face, and JSON.

Nothing of a data set is executed: no loading script, no pickle, no code that its files name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.errors import DataSetError
from mira_batch.storage.stores import shorten_error

Row = tuple[str, dict[str, Any]]
"""A row, after where it stands."""
_STATE, _SPLITS = "state.json", "dataset_dict.json"
"""What `save_to_disk` of Hugging Face `datasets` writes beside its Arrow files."""
_SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d{5})-of-(?P<total>\d{5})(?:-\w+)?")
_ROWS = 16
"""Rows of Parquet at a time: each may hold megabytes of images."""
_AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a data set, in its own order."""

    files: Sequence[Path]

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """These columns of all rows, one after the other.

        Args:
            columns: all must be there.

        Raises:
            DataSetError: a column lacks, or a file is damaged.
        """
        for file in self.files:
            number = 0
            for batch in _read_batches(file, columns):
                for index in range(batch.num_rows):
                    number += 1
                    (row,) = batch.slice(index, 1).to_pylist()
                    yield f"{file}: row {number}", row


def open_rows(data: Path, split: str | None = None) -> Rows:
    """Find the rows of a data set.

    Args:
        data: the folder that `save_to_disk` wrote, or one with Parquet files somewhere below it, as they lie
            on the hub; or one Parquet or Arrow file.
        split: which split, where there are several.

    Raises:
        DataSetError: there is none, several and none is named, or a file of it lacks.
    """
    if not data.exists():
        raise DataSetError(f"{data}: no such file or directory; give the data set as it was downloaded")
    if data.is_file():
        if split is not None:
            raise DataSetError(f"--split: {data} is one file; give the folder, or leave it out")
        return Rows([data])
    if (data / _SPLITS).is_file():
        found = list(_read_field(data / _SPLITS, "splits", list))
        return _open_arrow(data / _choose_split(data, [str(name) for name in found], split))
    if (data / _STATE).is_file():
        if split is not None:
            raise DataSetError(f"--split: {data} is one split alone; leave it out")
        return _open_arrow(data)
    return _open_parquet(data, split)


def _choose_split(data: Path, splits: Sequence[str], split: str | None) -> str:
    named = ", ".join(splits)
    if split is not None and split not in splits:
        raise DataSetError(f"--split: {data} has no split {split!r}; it has {named}")
    if split is None and len(splits) != 1:
        raise DataSetError(f"{data}: has the splits {named}; say which with --split")
    return split or splits[0]


def _open_arrow(folder: Path) -> Rows:
    state = folder / _STATE
    if not state.is_file():
        raise DataSetError(
            f"{state}: is not there, so which files belong to the data set is unknown; {_AGAIN}"
        )
    if read_json(state).get("_indices_data_files"):
        raise DataSetError(
            f"{state}: rows are chosen by an index beside them; save it again with save_to_disk"
        )
    names = [entry.get("filename") for entry in _read_field(state, "_data_files", list)]
    files = [folder / Path(str(name)).name for name in names]
    return _check_files(folder, files)


def _open_parquet(folder: Path, split: str | None) -> Rows:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        shard = _SHARD.fullmatch(path.stem)
        found.setdefault(shard["split"] if shard else path.stem, []).append(path)
    if not found:
        raise DataSetError(
            f"{folder}: holds no data set: no {_STATE} or {_SPLITS} of save_to_disk, nor any .parquet file"
        )
    files = found[_choose_split(folder, list(found), split)]
    shards = [shard for file in files if (shard := _SHARD.fullmatch(file.stem))]
    if shards:
        expected = {(f"{n:05d}", f"{len(files):05d}") for n in range(len(files))}
        if {(shard["number"], shard["total"]) for shard in shards} != expected:
            total = max(int(shard["total"]) for shard in shards)
            raise DataSetError(f"{files[0].parent}: has {len(files)} files of {total} of its split; {_AGAIN}")
    return _check_files(folder, files)


def _check_files(folder: Path, files: Sequence[Path]) -> Rows:
    if not files:
        raise DataSetError(f"{folder}: its data set has no files; {_AGAIN}")
    for file in files:
        if not file.is_file():
            raise DataSetError(f"{file}: is not there, but belongs to the data set; {_AGAIN}")
    return Rows(files)


def _read_batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as parquet:
                _check_columns(file, parquet.schema_arrow.names, columns)
                yield from parquet.iter_batches(_ROWS, columns=list(columns))
            return
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            _check_columns(file, reader.schema.names, columns)
            for batch in reader:
                yield batch.select(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataSetError(f"{file}: can't be read: {shorten_error(error)}; {_AGAIN}") from error


def _check_columns(file: Path, there: Sequence[str], wanted: Sequence[str]) -> None:
    if lacking := [name for name in wanted if name not in there]:
        raise DataSetError(
            f"{file}: has no column {', '.join(lacking)}, only {', '.join(there)}; is it this data set's?"
        )


def read_json(path: Path) -> Any:
    """The contents of a JSON file, in which no key stands twice.

    Raises:
        DataSetError: it can't be read, is no JSON, or a key of an object stands in it twice.
    """

    def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataSetError(f"{path}: the key {twice!r} stands in it twice; take one of both out")
        return found

    try:
        return json.loads(path.read_bytes(), object_pairs_hook=refuse_twice)
    except OSError as error:
        raise DataSetError(f"{path}: can't be read: {shorten_error(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}: is no JSON: {shorten_error(error)}; {_AGAIN}") from error


def _read_field(path: Path, name: str, kind: type) -> Any:
    found = read_json(path)
    value = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(value, kind):
        raise DataSetError(f"{path}: holds no {name}; {_AGAIN}")
    return value
