"""Result rows: written as one Parquet file per shard, read back as outputs and as trajectories.

A file under `results/` is the commit of its shard (docs/architecture.md), so everything about a shard
is in its one file, and any Parquet reader sees each record exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mira_batch.config.base import absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.types import Trajectory
from mira_batch.storage import schema
from mira_batch.storage.manifest import Place
from mira_batch.storage.run.layout import RUN, shard_of
from mira_batch.storage.run.steplog import step_row, usage_row
from mira_batch.storage.stores import (
    READ_ERRORS,
    ArrowFileSystem,
    file_exists,
    list_files_below,
    open_arrow_filesystem,
    shorten_error,
)

_GROUP_BYTES = 64_000_000
"""Row groups are closed at about this size, so that readers can stream and no column chunk nears 2 GiB."""
_GROUP_ROWS = 64
_BOUNDED: Any = {"batch_size": _GROUP_ROWS, "cache_metadata": False}
"""Scans keep neither whole shards nor the footers of all files in memory."""


def result_row(
    plan: dict[str, Any],
    trajectory: Trajectory,
    image: bytes | None,
    step_images: Sequence[dict[str, Any] | None],
    models: dict[str, str | None],
    source_digest: str | None,
) -> dict[str, Any]:
    """One record's row of schema `RESULTS`.

    Args:
        plan: the record's row of the plan.
        trajectory: what its loop did.
        image: the encoded result image; None when the input could not be decoded.
        step_images: an `IMAGE` value, or None, for each step.
        models: identity of policy, editor and judge.
        source_digest: digest of the input's pixels; None when it could not be decoded.
    """
    failure = trajectory.failure
    size = trajectory.result.size if image is not None else (None, None)
    steps = [
        step_row(logged.step, picture) for logged, picture in zip(trajectory.steps, step_images, strict=True)
    ]
    return {
        "record_id": plan["record_id"],
        "work_id": plan["work_id"],
        "instruction": plan["instruction"],
        "status": trajectory.status,
        "stop_reason": trajectory.stop_reason,
        "error_kind": failure.kind if failure else None,
        "error_message": failure.message if failure else None,
        "image": None if image is None else {"bytes": image, "path": None},
        "width": size[0],
        "height": size[1],
        "num_steps": len(steps),
        **usage_row(trajectory.usage),
        "models": models,
        "source": source_of(plan),
        "source_digest": source_digest,
        "result_digest": None if image is None else trajectory.result.digest,
        "restored": trajectory.restored,
        "final_thought": trajectory.final_thought or None,
        "metadata": plan["metadata"],
        "steps": steps,
    }


def source_of(plan: dict[str, Any]) -> str:
    """Where a record's input image is: its URI, or its place in the manifest."""
    if plan["image_uri"] is not None:
        return plan["image_uri"]
    return str(Place(plan["image_file"], plan["image_row_group"], plan["image_row"]))


def results_file(rows: Iterable[dict[str, Any]], footer: Mapping[bytes, str] | None = None) -> memoryview:
    """A shard's result file, whole, in memory: it is put once and never streamed.

    `footer` goes into the file's own metadata, which can be read without its rows.
    """
    sink = pa.BufferOutputStream()
    # Images are compressed already; compressing them again costs time and gains nothing.
    plain = {"image.bytes", "steps.list.element.image.bytes"}
    names = _leaves(schema.RESULTS)
    compression: Any = {name: "NONE" if name in plain else "ZSTD" for name in names}
    others: Any = [name for name in names if name not in plain]
    with pq.ParquetWriter(
        sink,
        schema.RESULTS,
        compression=compression,
        use_dictionary=others,
        write_statistics=others,
        write_page_checksum=True,
    ) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema.RESULTS))
        writer.add_key_value_metadata(dict(footer or {}))
    return memoryview(sink.getvalue()).cast("B")


def _leaves(fields: pa.Schema) -> list[str]:
    """Parquet's names of the leaf columns."""

    def walk(kind: pa.DataType, name: str) -> Iterator[str]:
        if pa.types.is_struct(kind):
            for field in kind:
                yield from walk(field.type, f"{name}.{field.name}")
        elif pa.types.is_list(kind):
            yield from walk(kind.value_type, f"{name}.list.element")
        else:
            yield name

    return [leaf for field in fields for leaf in walk(field.type, field.name)]


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        pictures = [row["image"], *(step["image"] for step in row["steps"])]
        weight = sum(len(p["bytes"]) for p in pictures if p and p["bytes"])
        if group and (size + weight > _GROUP_BYTES or len(group) >= _GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += weight
    if group:
        yield group


def results_dataset(run: str, storage: StorageConfig | None = None) -> ds.Dataset:
    """The committed results of a run as a pyarrow dataset, for scans with bounded memory.

    Args:
        run: the run's directory (`<output>/<run_id>`), or the `results` directory in it.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    storage = storage or StorageConfig()
    fs, files = result_files(run, storage)
    return ds.FileSystemDataset.from_paths(
        files, schema=schema.RESULTS, format=ds.ParquetFileFormat(), filesystem=fs
    )


def result_files(run: str, storage: StorageConfig) -> tuple[ArrowFileSystem, list[str]]:
    """The result files of a run by shard, and the file system that their paths belong to.

    Raises:
        StoreError: there are no results, or they can't be listed.
    """
    root = absolute(run).rstrip("/").removesuffix("/results")
    try:
        listed = list_files_below(f"{root}/results", storage)
    except READ_ERRORS as error:
        raise StoreError(f"{root}/results: can't be listed: {shorten_error(error)}") from error
    shards = {shard: name for name in listed if (shard := shard_of(f"results/{name}")) is not None}
    if not shards and not file_exists(f"{root}/{RUN}", storage):
        raise StoreError(f"{root}: holds no results; give the run's directory, <output>/<run_id>")
    fs, path = open_arrow_filesystem(f"{root}/results", storage)
    return fs, [f"{path}/{shards[shard]}" for shard in sorted(shards)]


def read_outputs(
    run: str, columns: Sequence[str] | None = None, storage: StorageConfig | None = None
) -> pa.Table:
    """One row per record, as a table.

    All columns but `steps` by default; leave out `image` when only the outcome matters. For runs larger
    than memory use `results_dataset(run).to_batches(columns=…)`, or `ray.data.read_parquet`.
    """
    names = list(columns) if columns is not None else [n for n in schema.RESULTS.names if n != "steps"]
    return results_dataset(run, storage).to_table(columns=names)


def read_trajectories(run: str, images: bool = True, storage: StorageConfig | None = None) -> pa.Table:
    """One row per step: the record's `record_id`, `work_id` and `instruction` (as `goal`), then the
    step's own columns.

    Args:
        run: the run's directory.
        images: whether to read the step images.
        storage: how to reach an object store; None uses the environment.
    """
    tables = []
    head = {"record_id": "record_id", "work_id": "work_id", "instruction": "goal"}
    for batch in results_dataset(run, storage).to_batches(columns=[*head, "steps"], **_BOUNDED):
        parents = batch["steps"].value_parent_indices()
        steps = batch["steps"].flatten()
        columns = {name: batch[key].take(parents) for key, name in head.items()}
        for field in schema.STEP:
            if images or field.name != "image":
                columns[field.name] = steps.field(field.name)
        tables.append(pa.table(columns))
    fields = [(name, pa.string()) for name in head.values()]
    fields += [(f.name, f.type) for f in schema.STEP if images or f.name != "image"]
    whole = pa.schema(fields)
    return pa.concat_tables([table.cast(whole) for table in tables]) if tables else whole.empty_table()
