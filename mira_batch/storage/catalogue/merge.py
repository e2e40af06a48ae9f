"""Folds what plans and runs say of a bucket's records into what a snapshot knows of them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.types import Status
from mira_batch.storage import schema

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
_PARTS = ("image_part", "instruction_part")
_RANK = {Status.failed.value: 0, Status.unfinished.value: 1, Status.ok.value: 2}
UPDATES = pa.schema([*schema.SNAPSHOT, ("stands_in", pa.string())])
"""Rows of results as they are folded, and pointers: those have no run. Of a pointer without a work_id `gone`
is the plan that missed the record."""


def merge(old: pa.Table, updates: pa.Table) -> pa.Table:
    """A bucket of the next snapshot.

    A record and a work_id have one row: of several that were made, the best, and of equally good ones the
    last. Its `plan` is the newest that wants this work. The current row of a record is its best one, and of
    equally good ones that of the newest plan: so an instruction that was changed back brings its earlier
    result back, and a failed edit takes no good result away. A record is gone while its `gone` is above all
    its plans.

    Args:
        old: the bucket of the snapshot before (schema `SNAPSHOT`).
        updates: what came since (schema `UPDATES`), the oldest first.

    Returns a table of schema `SNAPSHOT`, sorted by record_id and then by plan.
    """
    made = updates.filter(pc.field("run").is_valid()).select(schema.SNAPSHOT.names)
    pointers = updates.filter(pc.field("run").is_null())
    wanted = pointers.filter(pc.field("work_id").is_valid())
    missed = pointers.filter(pc.field("work_id").is_null())
    known = pa.concat_tables([old, made])
    rows = pa.concat_tables([known, _find_stand_ins(known, wanted)]).combine_chunks()
    if not rows.num_rows:
        return schema.SNAPSHOT.empty_table()
    records, works = encode(rows["record_id"]), encode(rows["work_id"])
    rank, plan = _find_ranks(rows["status"]), rows["plan"].to_numpy().astype(np.int64)
    order = np.lexsort((rank, works, records))  # stable: of equals the last comes last
    starts = _find_starts(records[order], works[order])
    best = order[np.append(starts[1:], len(order)) - 1]
    newest = np.maximum.reduceat(plan[order], starts)
    current = _find_current(records[best], rank[best], newest)
    gone = _find_gone(rows.take(pa.array(best)), missed, newest)
    kept = rows.take(pa.array(best)).drop_columns(["plan", "gone", "current"])
    kept = kept.append_column("plan", pa.array(newest, pa.int32()))
    kept = kept.append_column("gone", gone).append_column("current", pa.array(current))
    ordered = kept.sort_by([("record_id", "ascending"), ("plan", "ascending"), ("work_id", "ascending")])
    return ordered.select(schema.SNAPSHOT.names).cast(schema.SNAPSHOT)


def mark_current(rows: pa.Table, good: Collection[Status]) -> pa.Table:
    """A bucket's rows, with each record's current one where these statuses are equally good."""
    rank = _find_ranks(rows["status"])
    rank[rank >= min(_RANK[str(status)] for status in good)] = max(_RANK.values())
    plan = rows["plan"].to_numpy().astype(np.int64)
    current = pa.array(_find_current(encode(rows["record_id"]), rank, plan))
    return rows.set_column(rows.schema.get_field_index("current"), "current", current)


def _find_stand_ins(known: pa.Table, wanted: pa.Table) -> pa.Table:
    """The rows that pointers point to, as rows of the work that is wanted."""
    keys = pc.call_function("coalesce", [wanted["stands_in"], wanted["work_id"]])
    pointers = wanted.select(["record_id", "work_id", *_PARTS, "plan", "source"])
    pointers = pointers.append_column("key", keys)
    rows = known.drop_columns([*_PARTS, "plan", "source"])
    rows = rows.rename_columns([{"work_id": "key"}.get(name, name) for name in rows.column_names])
    found = pointers.join(rows, ["record_id", "key"], join_type="inner", use_threads=False)
    return found.select(schema.SNAPSHOT.names).cast(schema.SNAPSHOT)


def _find_ranks(status: pa.ChunkedArray) -> Numbers:
    names = pa.array(list(_RANK))
    places = pc.call_function("index_in", [status], pc.SetLookupOptions(names))
    return np.array(list(_RANK.values()))[places.to_numpy()]


def _find_current(records: Numbers, rank: Numbers, plan: Numbers) -> Flags:
    """Of each record its best row, and of equally good ones the one of the newest plan."""
    order = np.lexsort((plan, rank, records))
    starts = _find_starts(records[order])
    current = np.zeros(len(records), bool)
    current[order[np.append(starts[1:], len(order)) - 1]] = True
    return current


def _find_gone(rows: pa.Table, missed: pa.Table, plan: Numbers) -> pa.Array:
    """The plan that missed each row's record, where no later one wants it."""
    records = encode(pa.concat_tables([rows, missed.select(rows.column_names)])["record_id"])
    said = pa.concat_tables([rows.select(["gone"]), missed.select(["gone"])])["gone"]
    numbers = said.fill_null(-1).to_numpy().astype(np.int64)
    last = np.full(records.max() + 1, -1)
    np.maximum.at(last, records, numbers)
    wanted = np.full(records.max() + 1, -1)
    np.maximum.at(wanted, records[: len(plan)], plan)
    of_row = records[: len(plan)]
    return pa.array(last[of_row], pa.int32(), mask=last[of_row] <= wanted[of_row])


def find_newest(rows: pa.Table) -> Flags:
    """Whether each row (schema `SNAPSHOT`) is the one that its record's newest plan wants."""
    records = encode(rows["record_id"])
    newest = find_newest_of(records, rows["plan"].to_numpy(), int(records.max(initial=-1)) + 1)
    return newest[records] == np.arange(rows.num_rows)


def find_newest_of(records: Numbers, plan: Numbers, count: int) -> Numbers:
    """Of each of so many records the place of the row that its newest plan wants; -1 where there is none."""
    newest = np.full(count, -1)
    order = np.lexsort((plan, records))
    newest[records[order]] = order  # of several assignments the last one holds
    return newest


def find_places(names: pa.ChunkedArray, among: pa.ChunkedArray) -> Numbers:
    """Where each name is among others; -1 where it isn't."""
    options = pc.SetLookupOptions(among.combine_chunks(), skip_nulls=True)
    return pc.call_function("index_in", [names], options).fill_null(-1).to_numpy().astype(np.int64)


def encode(names: pa.ChunkedArray) -> Numbers:
    """Equal names as equal numbers, from 0 on."""
    codes = names.combine_chunks().dictionary_encode()
    return codes.indices.to_numpy().astype(np.int64)


def _find_starts(*keys: Numbers) -> Numbers:
    """Where each group of equal keys begins, in sorted ones."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)
