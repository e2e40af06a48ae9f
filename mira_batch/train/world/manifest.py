"""Writes tasks of the synthetic world as an ordinary manifest: Parquet with embedded images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.errors import ManifestError
from mira_batch.imaging import encode_png
from mira_batch.storage.schema import IMAGE, add_features
from mira_batch.train.world.scenes import render
from mira_batch.train.world.tasks import Task

TASKS = add_features(
    pa.schema(
        [
            ("record_id", pa.string()),
            ("image", IMAGE),
            ("instruction", pa.string()),
            ("clauses", pa.int32()),
            ("kinds", pa.string()),  # of the clauses, in order: "remove + add"
        ]
    )
)
_ROWS_OF_A_GROUP = 2_000


def write_manifest(path: Path, tasks: Iterable[Task]) -> int:
    """Write a manifest whole, or not at all: how many tasks it has.

    The same tasks make the same bytes. A file that has them already stays as it is.

    Raises:
        ManifestError: there is another file of that name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    count = 0
    try:
        with pq.ParquetWriter(unfinished, TASKS, compression="zstd") as writer:
            rest = iter(tasks)
            while group := list(islice(rest, _ROWS_OF_A_GROUP)):
                writer.write_table(pa.Table.from_pylist([_write_row(task) for task in group], TASKS))
                count += len(group)
        if path.exists() and path.read_bytes() != unfinished.read_bytes():
            raise ManifestError(
                f"{path} holds other tasks, or was written by another release; delete it, or name another "
                "directory"
            )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write_row(task: Task) -> dict[str, object]:
    return {
        "record_id": task.name,
        "image": {"bytes": encode_png(render(task.scene)), "path": None},
        "instruction": task.instruction,
        "clauses": len(task.kinds),
        "kinds": " + ".join(task.kinds),
    }
