"""The samples of a training: where they are, in which order they come, and reading them a few at a time.

Files are Parquet, as `storage/samples.py` describes them. A sample is named by its place, counted over all
files. The order is drawn before any image is read: row groups are shuffled, and within a window of some row
groups the samples. So reading is sequential and bounded, and a position in the order says all that is needed
to go on from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.construct.stages import ABOUT, read_marker
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import content_hash
from mira_batch.storage.samples import SAMPLES, SAMPLES_VERSION, VERSION_KEY
from mira_batch.storage.stores import (
    FileInfo,
    file_exists,
    find_files,
    open_arrow_filesystem,
    open_store,
    read_errors,
    shorten_error,
)

_COUNTED = ("kind", "origin", "dataset", "licence")
"""Columns whose values are counted for the model card."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file of samples."""

    location: str
    version: str
    """What tells that it changed."""
    groups: tuple[int, ...]
    """Rows of each row group."""


@dataclass(frozen=True, slots=True)
class SampleSet:
    """All samples of one split, without their images."""

    split: str
    files: tuple[SampleFile, ...]
    digest: str
    """Of the ids of all samples in their order: what tells this snapshot of data from others, wherever its
    files lie."""
    sources: frozenset[str]
    """Digests of the original images."""
    counts: Mapping[str, Mapping[str, int]]
    """Samples by the values of some columns."""

    def __len__(self) -> int:
        """How many samples there are."""
        return sum(sum(file.groups) for file in self.files)

    @property
    def groups(self) -> list[tuple[int, int, int, int]]:
        """Row groups as (file, row group, place of the first sample, samples)."""
        found, first = [], 0
        for number, file in enumerate(self.files):
            for group, rows in enumerate(file.groups):
                found.append((number, group, first, rows))
                first += rows
        return found


def find_samples(location: str, split: str, storage: StorageConfig) -> SampleSet:
    """The samples of a split below a directory: its files `<split>-*.parquet`, there or in `samples/`.

    Args:
        location: the directory, a path or URI.
        split: train or val.
        storage: how an object store is reached.

    Raises:
        ConfigError: there are none, a file can't be read, is of an unknown version or lacks columns, or has
            samples of another split.
    """
    try:
        files = _list_files(location.rstrip("/"), split, storage)
    except read_errors() as error:
        raise ConfigError(f"data.uri: {location} can't be listed: {shorten_error(error)}") from error
    found: list[SampleFile] = []
    tables: list[pa.Table] = []
    for file in files:
        try:
            with _open(file.location, storage) as parquet:
                _check_schema(file.location, parquet.schema_arrow)
                names = ["sample_id", "split", "source_digest", *_COUNTED]
                tables.append(parquet.read(columns=names))
                meta = parquet.metadata
                groups = tuple(meta.row_group(group).num_rows for group in range(meta.num_row_groups))
        except (*read_errors(), pa.ArrowException) as error:
            raise ConfigError(f"{file.location}: can't be read as Parquet: {shorten_error(error)}") from error
        found.append(SampleFile(file.location, file.version, groups))
    if not sum(table.num_rows for table in tables):
        raise ConfigError(
            f"data.uri: {location} has no samples of the split {split!r}; it should hold {split}-*.parquet, "
            "as `mira-batch construct` writes them"
        )
    table = pa.concat_tables(tables)
    if others := sorted({str(name) for name in table["split"].unique().to_pylist()} - {split}):
        raise ConfigError(f"data.uri: {location}: {split}-*.parquet hold samples of {', '.join(others)}, too")
    counts = {name: _count(table[name]) for name in _COUNTED}
    digest = content_hash(*(str(name) for name in table["sample_id"].to_pylist()))
    sources = frozenset(str(name) for name in table["source_digest"].unique().to_pylist())
    return SampleSet(split, tuple(found), digest, sources, counts)


def check_splits_apart(train: SampleSet, val: SampleSet) -> None:
    """Refuse validation samples of images that are trained on.

    Raises:
        ConfigError: the splits have source images in common.
    """
    if both := train.sources & val.sources:
        raise ConfigError(
            f"data.uri: {len(both)} source images have samples in {train.split} and in {val.split}, "
            f"{min(both)} among them: figures of {val.split} would be of what was learned by heart; split by "
            "source image, as `mira-batch construct` does"
        )


def order_samples(samples: SampleSet, seed: int, epoch: int, window: int) -> np.ndarray:
    """The places of all samples in the order in which an epoch takes them: the same for any number of
    workers, and on any machine.

    Args:
        samples: of the split.
        seed: of the training.
        epoch: from 0.
        window: at least so many samples, in whole row groups, are shuffled together.
    """
    draw = np.random.Generator(np.random.PCG64([seed, epoch]))
    groups = samples.groups
    parts: list[np.ndarray] = []
    held: list[np.ndarray] = []
    for place in draw.permutation(len(groups)):
        _, _, first, rows = groups[place]
        held.append(np.arange(first, first + rows, dtype=np.int64))
        if sum(map(len, held)) >= window:
            parts.append(draw.permutation(np.concatenate(held)))
            held = []
    if held:
        parts.append(draw.permutation(np.concatenate(held)))
    return np.concatenate(parts)


class SampleReader:
    """Reads samples by their places; keeps the row groups of a window or two."""

    def __init__(self, samples: SampleSet, storage: StorageConfig, window: int) -> None:
        """Nothing is read yet.

        Args:
            samples: of the split.
            storage: how an object store is reached.
            window: that of the order.
        """
        self._samples = samples
        self._storage = storage
        self._groups = samples.groups
        self._starts = np.array([first for _, _, first, _ in self._groups])
        # A window ends with the row group that fills it, and the next one is begun before it is over.
        self._most = 2 * (window + max(rows for _, _, _, rows in self._groups))
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()

    def read(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """The samples at these places, in this order.

        Raises:
            ConfigError: a file can't be read, or isn't the one that was listed.
        """
        return [self._read_one(place) for place in places]

    def _read_one(self, place: int) -> dict[str, Any]:
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        if number not in self._kept:
            self._kept[number] = self._read_group(number)
            while len(self._kept) > 1 and sum(t.num_rows for t in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        row = place - int(self._starts[number])
        return self._kept[number].slice(row, 1).to_pylist()[0]

    def _read_group(self, number: int) -> pa.Table:
        file_number, group, _, rows = self._groups[number]
        location = self._samples.files[file_number].location
        try:
            with _open(location, self._storage) as parquet:
                table = parquet.read_row_group(group, columns=SAMPLES.names)
        except (*read_errors(), pa.ArrowException) as error:
            raise ConfigError(
                f"{location}: row group {group} can't be read: {shorten_error(error)}"
            ) from error
        if table.num_rows != rows:
            raise ConfigError(
                f"{location}: row group {group} has {table.num_rows} samples, and had {rows} when the "
                "training began: the file was replaced; write data to a new place"
            )
        return table


def _list_files(location: str, split: str, storage: StorageConfig) -> list[FileInfo]:
    """Files of a split. What construct has written counts once its samples are whole, and only what it names:
    files of a call that was killed may lie beside them."""
    files = [
        file
        for folder in (location, f"{location}/samples")
        for file in find_files(f"{folder}/{split}-*.parquet", storage)
    ]
    if not file_exists(f"{location}/{ABOUT}", storage):
        return files
    marker = read_marker(open_store(location, storage, make=False), "samples")
    if marker is None:
        raise ConfigError(
            f"data.uri: the samples of {location} are not whole yet; run `mira-batch construct` again"
        )
    return [file for file in files if any(file.location.endswith(f"/{name}") for name in marker["files"])]


def _open(location: str, storage: StorageConfig) -> pq.ParquetFile:
    fs, path = open_arrow_filesystem(location, storage)
    return pq.ParquetFile(path, filesystem=fs)


def _check_schema(location: str, found: pa.Schema) -> None:
    version = (found.metadata or {}).get(VERSION_KEY, SAMPLES_VERSION.encode()).decode("utf-8", "replace")
    if version != SAMPLES_VERSION:
        raise ConfigError(
            f"{location}: is of version {version!r} of samples, and this mira-batch knows {SAMPLES_VERSION}; "
            "construct them anew, or take the mira-batch that wrote them"
        )
    wrong = [field.name for field in SAMPLES if field.name not in found.names]
    wrong += [
        f"{field.name} ({found.field(field.name).type} in place of {field.type})"
        for field in SAMPLES
        if field.name in found.names and found.field(field.name).type != field.type
    ]
    if wrong:
        raise ConfigError(
            f"{location}: holds no samples of version {SAMPLES_VERSION}: missing or of another type: "
            f"{', '.join(wrong)}"
        )


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    counted = column.value_counts().to_pylist()
    return {str(each["values"]): each["counts"] for each in sorted(counted, key=lambda c: str(c["values"]))}


def draw_places(count: int, most: int, seed: int) -> list[int]:
    """Some of so many places, for measurements: the same ones each time, in the order of their draw.

    Args:
        count: how many places there are.
        most: how many are wanted.
        seed: of the training.
    """
    draw = np.random.Generator(np.random.PCG64([seed, 0x5EE]))
    return draw.permutation(count)[:most].tolist()
