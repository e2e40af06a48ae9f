"""Rows of a run of the edit job with their images, some of them at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.construct.demonstration import Picture
from mira_batch.construct.pictures import Unusable, keep_exact
from mira_batch.core.errors import RecordError, StoreError
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.run.results import take_rows
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.stores import Store, open_arrow_filesystem, open_store

_COLUMNS = ("record_id", "instruction", "source", "source_digest", "rollout", "branch", "answers", "steps")
_AT_ONCE = 64
"""Rows whose images are in memory at once."""


@dataclass(frozen=True, slots=True)
class WholeRow:
    """A row of a run, with its images."""

    place: tuple[int, int]
    """Its shard, and its number in the shard's file."""
    columns: Mapping[str, Any]
    original: Picture
    after: tuple[bytes, ...]
    """The image after each of its steps, encoded."""


def read_whole_rows(
    run: str, places: Collection[tuple[int, int]], storage: StorageConfig
) -> Iterator[WholeRow]:
    """Some rows of a run, in the order of their places.

    Args:
        run: its directory.
        places: shards, and numbers of rows in their files.
        storage: how the run is reached.

    Raises:
        StoreError: a file is damaged, or an image is gone or another one.
    """
    store = open_store(run, storage, make=False)
    source, originals = open_originals(store, storage)
    fs, root = open_arrow_filesystem(run, storage)
    wanted = [schema.RESULTS.field(name) for name in _COLUMNS]
    for shard in sorted({shard for shard, _ in places}):
        rows = sorted(number for at, number in places if at == shard)
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            tables = read_result_file(
                fs, run, f"{root}/{result_key(shard)}", wanted, partial(_take, rows=some), storage
            )
            found = [row for table in tables for row in table.to_pylist()]
            embedded = originals.read_embedded([row["source"] for row in found])
            for number, row in zip(some, found, strict=True):
                try:
                    data = originals.read(row["source"], embedded)
                    if data is None:
                        raise StoreError(f"{run}: {row['record_id']}: {row['source']} is gone")
                    original = keep_exact(data, row["source"], source)
                except (Unusable, RecordError) as error:
                    raise StoreError(f"{run}: {row['record_id']}: {error}") from error
                if original.digest != row["source_digest"]:
                    raise StoreError(
                        f"{run}: {row['record_id']}: {row['source']} is another image than the run saw; put "
                        "that back"
                    )
                after = tuple(_read_step_image(store, step) for step in row["steps"] or ())
                yield WholeRow((shard, number), row, original, after)


def _take(parquet: pq.ParquetFile, rows: Sequence[int]) -> list[pa.Table]:
    return list(take_rows(parquet, rows, _COLUMNS))


def _read_step_image(store: Store, step: Mapping[str, Any]) -> bytes:
    image = step["image"] or {}
    data = image.get("bytes")
    if data is None and (key := find_step_image(image.get("path"))):
        data = store.get(key)
    if data is None:
        raise StoreError(f"{store.uri}: an image of a step is gone")
    return data
