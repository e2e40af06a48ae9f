"""Folds runs into the next snapshot of their catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter, read_part
from mira_batch.storage.catalogue.buckets import BucketSpool, count_buckets, digest_records
from mira_batch.storage.catalogue.merge import UPDATES, merge
from mira_batch.storage.catalogue.pending import Pending, Run, find_pending, look_at_run
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import FoldedRun, Snapshot, is_behind, read_clock
from mira_batch.storage.run.committed import find_ranges
from mira_batch.storage.run.history import read_columns, shard_in
from mira_batch.storage.run.planfile import PlanReader, read_pointers
from mira_batch.storage.stores import Store

BUCKET_RECORDS = 50_000
"""About how many records a bucket has: some 10 MB of rows."""
SPOOLED = pa.schema([*UPDATES, ("digest", pa.binary(16))])
_FROM_RESULTS = (
    "record_id", "work_id", "instruction", "status", "stop_reason", "error_kind",
    "source_digest", "result_digest", "num_steps", "cost", "models", "fidelity",
)  # fmt: skip
_PARTS = ("image_part", "instruction_part")
_TOGETHER = 4_096
"""Rows of results that are laid out at once: a shard has some tens, and a table takes milliseconds."""


def fold(
    catalogue: Catalogue,
    fields: pa.Schema,
    on_damaged: Callable[[StoreError], None],
    anew: bool = False,
    into: Store | None = None,
) -> Snapshot:
    """The newest snapshot, with all in it that runs have committed by now.

    The driver holds one bucket at a time; the rows of results are on the local disk meanwhile.

    Args:
        catalogue: whose.
        fields: schema of the job's results.
        on_damaged: told of a run or a file that is damaged and left out; what it raises ends the fold.
        anew: from all runs there are, as if there were no snapshot.
        into: the store that a further snapshot is written to; None: the catalogue's own.

    Raises:
        StoreError: the store can't be used, or the newest snapshot is damaged.
    """
    while True:
        pending = find_pending(catalogue, on_damaged, anew)
        base = pending.base
        if not (pending.runs or pending.anew):
            return base
        writer, runs = SnapshotWriter(into or catalogue.store, base.number + 1), dict(base.runs)
        for table in merge_pending(catalogue, pending, fields, on_damaged, runs):
            if runs == base.runs and not pending.anew:
                return base  # all that seemed to have come is damaged
            writer.add(table)
        # A number below the newest may be free: others have made that snapshot and forgotten it again, and
        # with it the buckets that were written here, while this process was asleep.
        if into is None and is_behind(catalogue.store, base.number):
            continue
        forgotten = base.forgotten & pending.names  # some may be gone for good by now
        if (folded := writer.finish(runs, forgotten, read_clock(base), base.pruned)) is not None:
            return folded  # else somebody was faster


def merge_pending(
    catalogue: Catalogue,
    pending: Pending,
    fields: pa.Schema,
    on_damaged: Callable[[StoreError], None],
    runs: dict[str, FoldedRun],
    buckets: int | None = None,
) -> Iterator[pa.Table]:
    """The rows of the snapshot and of what has come since, a bucket after the other (schema `SNAPSHOT`).

    Args:
        catalogue, fields, on_damaged: as of `fold`.
        pending: what `find_pending` found.
        runs: those of the snapshot; on the way it becomes what the next one knows of them.
        buckets: how many there are to be, a power of two and no less than the snapshot has; None: as many as
            the records want.
    """
    base = pending.base
    plans = [run.plan for run in pending.runs if run.plan is not None and run.name not in base.runs]
    records = base.records + sum(plan.records for plan in plans)
    count = buckets or max(len(base.files), count_buckets(records, BUCKET_RECORDS))
    for name in pending.removed:
        del runs[name]
    with BucketSpool(count, SPOOLED) as spool:
        for table in _read_updates(catalogue, pending, fields, on_damaged, runs):
            spool.add(table)
        for bucket in range(count):
            old = read_part(catalogue.store, base, bucket, count)
            yield merge(old, spool.read(bucket).drop_columns("digest"))


def read_updates(
    catalogue: Catalogue, pending: Pending, fields: pa.Schema, on_damaged: Callable[[StoreError], None]
) -> Iterator[pa.Table]:
    """What has come since the snapshot, the oldest plan first (schema `UPDATES`).

    Args:
        catalogue, pending, fields, on_damaged: as of `merge_pending`.
    """
    for table in _read_updates(catalogue, pending, fields, on_damaged, dict(pending.base.runs)):
        yield table.drop_columns("digest")


def read_run(
    store: Store,
    job: str,
    storage: StorageConfig,
    fields: pa.Schema,
    on_damaged: Callable[[StoreError], None],
) -> Iterator[pa.Table]:
    """The rows of one run, as a catalogue of it alone would have them (schema `SNAPSHOT`).

    Args:
        store: the run's directory.
        job: name of its job.
        storage: how it is reached.
        fields, on_damaged: as of `fold`.

    Raises:
        StoreError: the store can't be used, or the run is damaged.
    """
    found = look_at_run(store, job)
    for _, table in () if found is None else _read_results(found[0], storage, fields, (), on_damaged):
        rows = table.select(schema.SNAPSHOT.names)
        place = rows.schema.get_field_index("current")
        yield rows.set_column(place, "current", pa.array([True] * table.num_rows, pa.bool_()))


def _read_updates(
    catalogue: Catalogue,
    pending: Pending,
    fields: pa.Schema,
    on_damaged: Callable[[StoreError], None],
    runs: dict[str, FoldedRun],
) -> Iterator[pa.Table]:
    for run in pending.runs:
        known = runs.get(run.name) or FoldedRun(run.number, run.form, run.shards)
        is_in = run.name in runs and not pending.anew
        if run.plan is not None and not is_in and not known.plan_left_out:
            for key in run.plan.pointers:
                yield _spool_pointers(run, read_pointers(run.store, key))
        done = set(known.expand())
        for shards, table in _read_results(run, catalogue.storage, fields, done, on_damaged):
            yield table
            done.update(shards)
        runs[run.name] = replace(known, folded=tuple(find_ranges(done)))


def _read_results(
    run: Run,
    storage: StorageConfig,
    fields: pa.Schema,
    done: Collection[int],
    on_damaged: Callable[[StoreError], None],
) -> Iterator[tuple[list[int], pa.Table]]:
    """The rows of some shards after the others, as updates, but for those that are done."""
    names = [name for name in _FROM_RESULTS if name in fields.names]
    shards = {shard.index: shard for shard in run.plan.shards()} if run.plan is not None else {}
    plan = PlanReader(run.store, ("work_id", *_PARTS))
    together, planned, rows = dict[int, pa.Table](), list[Mapping[str, Any]](), 0
    for file, table in read_columns(run.store.uri, names, fields, storage, on_damaged, leave_out=done):
        index = shard_in(file)
        own = plan.read(shards[index]) if index in shards else []
        planned += own
        together[index] = table
        if (rows := rows + max(table.num_rows, len(own))) >= _TOGETHER:
            yield list(together), _spool_results(run, together, planned)
            together, planned, rows = {}, [], 0
    if together:
        yield list(together), _spool_results(run, together, planned)


def _spool_results(
    run: Run, shards: Mapping[int, pa.Table], planned: Sequence[Mapping[str, Any]]
) -> pa.Table:
    table = pa.concat_tables(shards.values(), promote_options="default")
    rows = table.num_rows
    parts = {row["work_id"]: row for row in planned}
    works = table["work_id"].to_pylist()
    columns: dict[str, Any] = {name: table[name] for name in table.column_names if name in SPOOLED.names}
    for name in _PARTS:
        columns[name] = [parts.get(work, {}).get(name) for work in works]
    if "models" in columns:
        columns["models"] = [json.dumps(models) for models in table["models"].to_pylist()]
    if "fidelity" in table.column_names:
        facts = zip(schema.FIDELITY.names, table["fidelity"].combine_chunks().flatten(), strict=True)
        columns |= {name: values.cast(pa.float32()) for name, values in facts if name in SPOOLED.names}
    columns |= {
        "made_as": table["work_id"],
        "run": [run.name] * rows,
        "shard": [shard for shard, part in shards.items() for _ in range(part.num_rows)],
        "row": [row for part in shards.values() for row in range(part.num_rows)],
        "plan": [run.number] * rows,
        "source": [run.source] * rows,
        "digest": digest_records(table["record_id"].to_pylist()),
    }
    return _fill(columns, rows)


def _spool_pointers(run: Run, table: pa.Table) -> pa.Table:
    missed = pc.call_function("is_null", [table["work_id"]])
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= {
        "plan": [run.number] * table.num_rows,
        "source": [run.source] * table.num_rows,
        "gone": pc.call_function("if_else", [missed, pa.scalar(run.number, pa.int32()), None]),
        "digest": digest_records(table["record_id"].to_pylist()),
    }
    return _fill(columns, table.num_rows)


def _fill(columns: Mapping[str, Any], rows: int) -> pa.Table:
    """A table of schema `SPOOLED`; columns that are not given are null."""
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in SPOOLED]
    return pa.table(arrays, schema=SPOOLED)
