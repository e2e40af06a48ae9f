"""Compares what a manifest asks for with what a catalogue has, a bucket at a time. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.catalogue.merge import Flags, Numbers, encode, find_newest_of, find_places
from mira_batch.storage.catalogue.select import Selection

KEYS = pa.schema(
    [
        ("number", pa.int64()),  # of the row among all that were read
        ("digest", pa.binary(16)),
        ("record_id", pa.string()),
        ("work_id", pa.string()),  # null of a row that can't be used: it says only that the record is there
        ("image_part", pa.string()),
        ("instruction_part", pa.string()),
    ]
)
"""What the comparison takes of a row of the manifest."""


DOUBTFUL = pa.schema(
    [
        *KEYS,
        ("stands_in", pa.string()),  # the row's own work_id that would do for it, if the pixels were the same
        ("source_digest", pa.string()),  # of that row's input
        ("models", pa.string()),
    ]
)


class Cause(IntEnum):
    """Why a row of a manifest is run, or why it isn't."""

    rejected = 0
    duplicate = 1
    unchanged = 2
    same_pixels = 3
    """Its image is another file than it was, with the same pixels: it was copied or saved again."""
    not_selected = 4
    running = 5
    """Another run has it in hand just now."""
    new = 6
    image = 7
    instruction = 8
    settings = 9
    failed = 10
    unfinished = 11
    repeated = 12
    """There is a good result, but it must not stand in for another: `skip_done` is off, or the rows have
    another form."""
    selected = 13
    """There is a good result, and it is made again since it was selected."""
    rejected_by_person = 14
    """A person has rejected its result."""

    @property
    def runs(self) -> bool:
        """Whether the record is run."""
        return self >= Cause.new


Causes = np.ndarray[Any, np.dtype[np.int8]]
"""A `Cause` for each row of a manifest: all that a driver holds of a row."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What becomes of a bucket's rows."""

    causes: Causes
    """A `Cause` for each row of the keys."""
    pointers: pa.Table
    """What the catalogue has to know of records that are not run (schema `POINTERS`)."""
    models: Counter[str]
    """Rows that are left out, by the identities (JSON) of who made what stands for them."""
    changed: Counter[str]
    """Rows that are run since settings changed, by the run that made what they had."""
    doubtful: pa.Table
    """Rows of which nothing but the image's version has changed (schema `DOUBTFUL`)."""


def join(
    keys: pa.Table,
    known: pa.Table,
    done: Collection[Status],
    runs: Collection[str],
    source: str,
    selection: Selection | None = None,
    busy: pa.Array | None = None,
    whole: bool = True,
) -> Joined:
    """Decide what becomes of a bucket's rows.

    Args:
        keys: the rows of the manifest (schema `KEYS`), in its order.
        known: the rows of the catalogue (schema `SNAPSHOT`).
        done: the statuses with which a row needs no further run.
        runs: names of the runs whose rows have the form that is wanted.
        source: the manifest, by which the records are known that it has lost; empty: nobody knows it, and
            nothing is said of records that are not there.
        selection: of which records it is; None: of all. Nothing is said of others, and of none that it is
            gone.
        busy: work_ids that other runs have in hand.
        whole: whether the rows are all of the manifest; else nothing is said of records that are not there.
    """
    both = pa.concat_tables([known.select(["record_id"]), keys.select(["record_id"])])
    records = encode(both["record_id"])
    of_known, of_keys = records[: known.num_rows], records[known.num_rows :]
    newest = find_newest_of(of_known, known["plan"].to_numpy(), int(records.max(initial=-1)) + 1)
    wanted = newest[of_keys]
    usable = keys["work_id"].is_valid().to_numpy()
    same = find_places(keys["work_id"], known["work_id"])
    may_stand_in = _may_stand_in(known, done, runs)
    stands = (same >= 0) & _pick(may_stand_in, same)
    causes = _explain_changes(keys, known, wanted)
    causes[same >= 0] = Cause.repeated
    for status, cause in ((Status.failed, Cause.failed), (Status.unfinished, Cause.unfinished)):
        causes[_pick(_equals(known["status"], str(status)), same)] = cause
    causes[stands] = Cause.unchanged
    if selection is not None:
        chosen = _pick(selection.find(known), wanted)
        if selection.again:
            causes[chosen & stands] = Cause.selected
        if selection.verdicts is not None:
            causes[chosen & stands] = Cause.rejected_by_person
        causes[~chosen] = Cause.not_selected
    if busy is not None:
        in_hand = pc.call_function("is_in", [keys["work_id"]], pc.SetLookupOptions(busy)).to_numpy()
        causes[in_hand & (causes >= Cause.new)] = Cause.running
    causes[~usable] = Cause.rejected
    causes[usable & ~_find_firsts(of_keys, usable)] = Cause.duplicate
    stands = causes == Cause.unchanged
    gone, own = known["gone"].is_valid().to_numpy(), _equals(known["source"], source)
    # What stands by a manifest of another name is this one's from now on, so that it can be missed in it.
    moved = keys.filter(pa.array(stands & ((same != wanted) | _pick(gone | ~own, same))))
    lost = newest[of_known] == np.arange(known.num_rows)
    lost &= own & ~gone & ~np.isin(of_known, of_keys)
    lost &= whole and selection is None and source != ""
    pointers = [moved.drop_columns(["number", "digest"]), known.filter(pa.array(lost)).select(["record_id"])]
    columns = pa.concat_tables([schema.POINTERS.empty_table(), *pointers], promote_options="default")
    made_by = known["models"].take(pa.array(same[stands])).to_pylist()
    seen = may_stand_in & known["source_digest"].is_valid().to_numpy()
    doubtful = (causes == Cause.image) & _pick(seen, wanted) & (selection is None or not selection.again)
    return Joined(
        causes,
        columns,
        Counter(name or "" for name in made_by),
        Counter(known["run"].take(pa.array(wanted[causes == Cause.settings])).to_pylist()),
        _find_doubtful(keys, known, wanted, doubtful),
    )


def take_keys(table: pa.Table, start: int) -> pa.Table:
    """What is compared of scanned rows (schema `KEYS`); those that name no record are left out.

    Args:
        table: rows of a job's scan.
        start: the number of the first.
    """
    usable = table["reason"].is_null()
    works = pc.call_function("if_else", [usable, table["work_id"], pa.scalar(None, pa.string())])
    columns = {
        "number": pa.array(np.arange(start, start + table.num_rows)),
        "digest": table["digest"],
        "record_id": table["record_id"],
        "work_id": works,
    }
    for part in ("image_part", "instruction_part"):  # a job of the user's own may have none
        columns[part] = table[part] if part in table.column_names else pa.nulls(table.num_rows, pa.string())
    keys = pa.table([columns[name] for name in KEYS.names], schema=KEYS).filter(table["record_id"].is_valid())
    if not keys["digest"].null_count:
        return keys
    names = keys["record_id"].to_pylist()
    return keys.set_column(KEYS.get_field_index("digest"), KEYS.field("digest"), digest_records(names))


def _find_doubtful(keys: pa.Table, known: pa.Table, wanted: Numbers, doubtful: Flags) -> pa.Table:
    rows = keys.filter(pa.array(doubtful))
    then = known.take(pa.array(wanted[doubtful]))
    rows = rows.append_column("stands_in", then["made_as"])
    rows = rows.append_column("source_digest", then["source_digest"]).append_column("models", then["models"])
    same = pc.call_function("equal", [rows["instruction_part"], then["instruction_part"]]).fill_null(False)
    return rows.filter(same)


def _may_stand_in(known: pa.Table, done: Collection[Status], runs: Collection[str]) -> Flags:
    """Whether each row needs no further run."""
    good = pc.SetLookupOptions(pa.array([str(status) for status in done], pa.string()))
    alike = pc.SetLookupOptions(pa.array(list(runs), pa.string()))
    flags = [
        pc.call_function("is_in", [known["status"]], good),
        pc.call_function("is_in", [known["run"]], alike),
    ]
    return flags[0].to_numpy() & flags[1].to_numpy()


def _explain_changes(keys: pa.Table, known: pa.Table, wanted: Numbers) -> Causes:
    """The cause for each row, as if nobody had made this very work before."""
    causes = np.where(wanted >= 0, Cause.settings, Cause.new).astype(np.int8)
    for part, cause in (("instruction_part", Cause.instruction), ("image_part", Cause.image)):
        then = known[part].take(pa.array(np.maximum(wanted, 0), mask=wanted < 0))
        differs = pc.call_function("not_equal", [keys[part], then]).fill_null(False)
        causes[differs.to_numpy()] = cause
    return causes


def _equals(column: pa.ChunkedArray, value: str) -> Flags:
    return pc.call_function("equal", [column, pa.scalar(value)]).fill_null(False).to_numpy()


def _pick(flags: Flags, places: Numbers) -> Flags:
    """The flag at each place; False at -1."""
    return np.append(flags, False)[places]


def _find_firsts(records: Numbers, usable: Flags) -> Flags:
    """Whether each usable row is the first of its record."""
    places = np.flatnonzero(usable)
    firsts = np.zeros(len(records), bool)
    firsts[places[np.unique(records[places], return_index=True)[1]]] = True
    return firsts
