"""Folds what plans and runs say of a bucket's records into what a snapshot knows of them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import Numbers

Flags = np.ndarray[Any, np.dtype[np.bool_]]
_PARTS = ("image_part", "instruction_part")
_RANK = {Status.failed.value: 0, Status.unfinished.value: 1, Status.ok.value: 2}
UPDATES = pa.schema([*schema.SNAPSHOT, ("stands_in", pa.string())])
"""Rows of results as they are folded, and pointers: those have no run. Of a pointer without a work_id `gone`
is the plan that missed the record."""


def merge(old: pa.Table, updates: pa.Table) -> pa.Table:
    """A bucket of the next snapshot.

    It is the same in whatever portions the updates came, if each pointer points to what was there.

    A record and a work_id have one row: of several that were made, the best, and of equally good ones the
    last; where none was made, the one that a pointer has stand in for it. Its `plan` is the newest that wants
    this work. The current row of a record is its best one, and of equally good ones that of the newest plan:
    so an instruction that was changed back brings its earlier result back, and a failed edit takes no good
    result away. A record is gone while its `gone` is above all its plans.

    Args:
        old: the bucket of the snapshot before (schema `SNAPSHOT`).
        updates: what came since (schema `UPDATES`), the oldest first.

    Returns a table of schema `SNAPSHOT`, sorted by record_id and then by plan.
    """
    names = schema.SNAPSHOT.names
    made = updates.filter(pc.field("run").is_valid()).select(names)
    pointers = updates.filter(pc.field("run").is_null())
    wanted = pointers.filter(pc.field("work_id").is_valid())
    missed = pointers.filter(pc.field("work_id").is_null())
    is_own = pc.field("made_as") == pc.field("work_id")
    own = pa.concat_tables([old.filter(is_own), made])
    copied = old.filter(~is_own)
    copied = copied.append_column("stands_in", copied["made_as"])
    stand_ins = [copied, wanted.filter(pc.field("stands_in").is_valid())]
    copies = _copy_rows(own, pa.concat_tables(stand_ins))
    rows = pa.concat_tables([wanted.select(names), copies, own]).combine_chunks()
    if not rows.num_rows:
        return schema.SNAPSHOT.empty_table()
    records, works = encode(rows["record_id"]), encode(rows["work_id"])
    rank, plan = _find_ranks(rows["status"]), rows["plan"].to_numpy().astype(np.int64)
    kind = np.repeat([0, 1, 2], [wanted.num_rows, copies.num_rows, own.num_rows])
    best = _find_lasts(rank, kind, works, records, by=2)
    newest = _find_lasts(plan, works, records, by=2)
    is_there = kind[best] > 0
    best, newest = best[is_there], newest[is_there]
    if not len(best):
        return schema.SNAPSHOT.empty_table()
    kept, asked = rows.take(pa.array(best)), rows.take(pa.array(newest))
    columns = {name: kept[name] for name in names}
    columns |= {name: pc.call_function("coalesce", [asked[name], kept[name]]) for name in _PARTS}
    columns |= {
        "plan": asked["plan"],
        "source": asked["source"],
        "gone": _find_gone(kept, missed, plan[newest]),
        "current": pa.array(_find_current(records[best], rank[best], plan[newest])),
    }
    ordered = pa.table(columns).sort_by(
        [("record_id", "ascending"), ("plan", "ascending"), ("work_id", "ascending")]
    )
    return ordered.cast(schema.SNAPSHOT)


def mark_current(rows: pa.Table, good: Collection[Status]) -> pa.Table:
    """A bucket's rows, with each record's current one where these statuses are equally good."""
    rank = _find_ranks(rows["status"])
    rank[rank >= min(_RANK[str(status)] for status in good)] = max(_RANK.values())
    plan = rows["plan"].to_numpy().astype(np.int64)
    current = pa.array(_find_current(encode(rows["record_id"]), rank, plan))
    return rows.set_column(rows.schema.get_field_index("current"), "current", current)


def _copy_rows(made: pa.Table, pointers: pa.Table) -> pa.Table:
    """The rows that stand in for others, as rows of the work that is wanted."""
    if not pointers.num_rows:
        return schema.SNAPSHOT.empty_table()
    records, works = encode(made["record_id"]), encode(made["work_id"])
    best = _find_lasts(_find_ranks(made["status"]), works, records, by=2)
    rows = made.take(pa.array(best)).drop_columns(["work_id", *_PARTS, "plan", "source"])
    wanted = pointers.select(["record_id", "work_id", "stands_in", *_PARTS, "plan", "source"])
    found = wanted.join(
        rows, ["record_id", "stands_in"], ["record_id", "made_as"], join_type="inner", use_threads=False
    )
    found = found.rename_columns([{"stands_in": "made_as"}.get(name, name) for name in found.column_names])
    return found.sort_by("plan").select(schema.SNAPSHOT.names).cast(schema.SNAPSHOT)


def _find_ranks(status: pa.ChunkedArray) -> Numbers:
    """How good each status is; -1 where there is none."""
    options = pc.SetLookupOptions(pa.array(list(_RANK)))
    places = pc.call_function("index_in", [status], options).fill_null(-1)
    return np.array([*_RANK.values(), -1])[places.to_numpy()]


def _find_current(records: Numbers, rank: Numbers, plan: Numbers) -> Flags:
    """Of each record its best row, and of equally good ones the one of the newest plan."""
    current = np.zeros(len(records), bool)
    current[_find_lasts(plan, rank, records, by=1)] = True
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


def find_needed(rows: pa.Table) -> Flags:
    """Whether each row (schema `SNAPSHOT`) stands for its record, or is the one that its newest plan wants.
    All others have been superseded."""
    return rows["current"].to_numpy() | find_newest(rows)


def find_newest_of(records: Numbers, plan: Numbers, count: int) -> Numbers:
    """Of each record the place of the row that its newest plan wants; -1 where there is none.

    Args:
        records: whose each row is, as of `encode`.
        plan: the number of each row's.
        count: how many records there are.
    """
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


def _find_lasts(*keys: Numbers, by: int) -> Numbers:
    """The place of the last of each group of rows, by the order of their keys.

    Args:
        keys: as of `np.lexsort`, the last one first; of equal rows the last one is last.
        by: how many of them, from the end, make a group.
    """
    order = np.lexsort(keys)
    last = np.ones(len(order), bool)
    last[:-1] = np.any([key[order][1:] != key[order][:-1] for key in keys[-by:]], axis=0)
    return order[last]
