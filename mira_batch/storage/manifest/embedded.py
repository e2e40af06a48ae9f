"""Reads images that are embedded in a Parquet manifest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.parquet import explain_read_errors, open_parquet, sum_stored_bytes
from mira_batch.storage.manifest.rows import Place

_ROWS_AT_ONCE = 16
_HELD_BYTES = 64_000_000
"""Of images that were read before they were asked for: how many bytes are kept."""
_SMALL_GROUP = _HELD_BYTES // 2
"""Row groups up to this size are read to their end at once, so that shards may come in any order."""


def read_embedded(
    path: str, row_group: int, rows: set[int], column: str, storage: StorageConfig
) -> dict[int, bytes]:
    """Read embedded images once, as `EmbeddedReader.read` does.

    Args:
        path: the Parquet file.
        row_group: its row group.
        rows: which rows of the row group.
        column: the manifest's name of the image column.
        storage: how an object store is reached.

    Returns:
        Row within the group -> encoded bytes.

    Raises:
        ManifestError: the file can't be read, or these rows are no longer there.
        StoreError: no such scheme, or the package for it isn't installed.
    """
    reader = EmbeddedReader(column, storage)
    try:
        return reader.read(path, row_group, rows)
    finally:
        reader.close()


class EmbeddedReader:
    """Reads embedded images, each row group once where its images are asked for in order.

    A row group can only be read from its start. Shards follow the manifest, so in a large one the reader
    stays where the last shard ended and goes on from there. Of the images it passes over it keeps some, for
    shards that are read out of order. It starts again only for an image that it no longer keeps.

    One row group is open at a time, and of that a few pages. pyarrow makes pages of a thousand images, so a
    large row group may take as much memory as three thousand images.

    Safe to share by threads, which take turns.
    """

    def __init__(self, column: str, storage: StorageConfig) -> None:
        """
        Args:
            column: the manifest's name of the image column.
            storage: how an object store is reached.
        """
        self._column = column
        self._storage = storage
        self._lock = threading.Lock()
        self._file: pq.ParquetFile | None = None
        self._images: Iterator[bytes | None] = iter(())
        self._next = Place("", 0, 0)
        """The row that `_images` gives next."""
        self._rows = 0
        """How many rows its row group has."""
        self._small = False
        self._held: OrderedDict[Place, bytes] = OrderedDict()
        self._held_bytes = 0

    def read(self, path: str, row_group: int, rows: set[int]) -> dict[int, bytes]:
        """Read embedded images.

        Args:
            path: the Parquet file.
            row_group: its row group.
            rows: which rows of the row group.

        Returns:
            Row within the group -> encoded bytes.

        Raises:
            ManifestError: the file can't be read, or these rows are no longer there.
            StoreError: no such scheme, or the package for it isn't installed.
        """
        with self._lock:
            found: dict[int, bytes] = {}
            for row in rows:
                if (data := self._held.pop(Place(path, row_group, row), None)) is not None:
                    self._held_bytes -= len(data)
                    found[row] = data
            missing = rows - found.keys()
            if missing:
                found |= self._read_forward(path, row_group, missing)
                # The allocator would keep the pages of all that was read, most of a row group, for later.
                pa.default_memory_pool().release_unused()
        if missing := rows - found.keys():
            raise ManifestError(
                f"{path}: row group {row_group} holds no image in row {min(missing)}; the file was changed "
                "after the run was planned: restore it, or start a new run"
            )
        return found

    def close(self) -> None:
        """Close the file that is open, if any. The reader can be used again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._images, self._rows = iter(()), 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_forward(self, path: str, row_group: int, wanted: set[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        try:
            with explain_read_errors(path):
                at = self._next
                if self._file is None or (at.file, at.row_group) != (path, row_group) or min(wanted) < at.row:
                    self._open(path, row_group)
                last = self._rows - 1 if self._small else min(max(wanted), self._rows - 1)
                while self._next.row <= last:
                    place, data = self._next, next(self._images)
                    self._next = Place(path, row_group, place.row + 1)
                    if data is not None and place.row in wanted:
                        found[place.row] = data
                    elif data is not None:
                        self._hold(place, data)
        except ManifestError:  # where it stands is not known
            self._close()
            raise
        if self._next.row >= self._rows:
            self._close()
        return found

    def _open(self, path: str, row_group: int) -> None:
        self._close()
        self._next = Place(path, row_group, 0)
        file = self._file = open_parquet(path, self._storage)
        if row_group < file.num_row_groups and self._column in file.schema_arrow.names:
            self._rows = file.metadata.row_group(row_group).num_rows
            self._small = sum_stored_bytes(file, row_group, self._column) <= _SMALL_GROUP
            self._images = _iterate_images(file, row_group, self._column)

    def _hold(self, place: Place, data: bytes) -> None:
        self._held_bytes += len(data) - len(self._held.pop(place, b""))
        self._held[place] = data
        while self._held_bytes > _HELD_BYTES:
            self._held_bytes -= len(self._held.popitem(last=False)[1])


def _iterate_images(file: pq.ParquetFile, row_group: int, column: str) -> Iterator[bytes | None]:
    """The images of a row group in order; None where a row has none."""
    batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[row_group], columns=[column], use_threads=False)
    for batch in batches:
        images = batch[column]
        if pa.types.is_struct(images.type):  # whose path need not even be valid text
            index = images.type.get_field_index("bytes")
            images = images.flatten()[index] if index >= 0 else pa.nulls(len(images))
        for value in images:
            data = value.as_py()
            yield data if isinstance(data, bytes) else None
