"""Deletes what a catalogue no longer needs: old snapshots, and the runs that only they needed.

The order makes it safe to be killed at any moment: rows that are still needed are copied out of runs of which
little is, and read back; then snapshots are written that point to the copies and name the runs to be deleted;
only then is anything deleted. A run that a kept snapshot still names, since a call was cut off before it was
written anew, stays until that snapshot goes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from mira_batch.core.errors import StoreError
from mira_batch.runtime.busy import keep_idle
from mira_batch.runtime.copies import Move, copy_rows, find_abandoned
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter, read_bucket
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.merge import find_needed
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import (
    MARKER,
    Snapshot,
    list_numbers,
    locate_file,
    read_snapshot,
)
from mira_batch.storage.run.decisions import list_kept
from mira_batch.storage.run.layout import RUN

_SPANS = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}
COPIED_BELOW = 0.5
"""A run of which a smaller part is needed is copied and deleted; one of which more is stays as it is."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Which snapshots to keep beside the newest one: of so many days, weeks, months and years the last."""

    last: int = 1
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def choose(self, created: Mapping[int, str]) -> set[int]:
        """The snapshots to keep.

        Args:
            created: when the state of each came to be, ISO 8601, by number. Of equal ones the last counts.
        """
        # A state may be there twice: as it was, and as a call that was cut off has written it anew.
        states = {when: number for number, when in sorted(created.items())}
        numbers = sorted(states.values(), reverse=True)
        kept = set(numbers[: max(1, self.last)])
        for name, form in _SPANS.items():
            seen: dict[str, int] = {}
            for number in numbers:
                seen.setdefault(datetime.fromisoformat(created[number]).strftime(form), number)
            kept |= set(list(seen.values())[: getattr(self, name)])
        return kept


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What is, or would be, forgotten."""

    snapshots: Sequence[int]
    """Numbers of those that are deleted."""
    kept: Sequence[int]
    """Those that are kept."""
    deleted: Mapping[str, int]
    """Runs of which nothing is needed any more, and how many rows they had in the catalogue."""
    copied: Mapping[str, int]
    """Runs that are deleted once what is needed of them is copied, and how many rows that is."""
    rows: int = 0
    """Rows that the newest snapshot has afterwards."""
    decisions: Mapping[str, int] = field(default_factory=dict)
    """Of runs that are deleted how many files of people's decisions go with them; they were about results
    that are superseded. Those of runs that are copied go along."""


@dataclass
class _Needs:
    """Which rows of a run the kept snapshots point to."""

    rows: set[tuple[int, int]] = field(default_factory=set)
    """(shard, row in it)."""
    plan: bool = False
    """Its plan says of a row that it is current, or that its record is gone."""
    known: int = 0
    """Rows of it that the newest snapshot knows."""
    says_of: set[str] = field(default_factory=set)
    """The runs of those rows of which its plan says so, and that are not needed."""


def forget(
    catalogue: Catalogue,
    fields: pa.Schema,
    retention: Retention,
    note: Callable[[str], None],
    dry: bool = False,
) -> Forgetting:
    """Delete the snapshots that `retention` doesn't keep, and all results that no kept one needs.

    A snapshot needs the row that stands for each of its records, and the one that its newest plan wants; what
    has been superseded is forgotten. Where another plan asks for it, it is made again.

    Args:
        catalogue: which.
        fields: schema of the job's results.
        retention: which snapshots are kept.
        note: told what it is at.
        dry: delete nothing, and copy nothing.

    Raises:
        RunConflict: a run is at work on the catalogue, or is just being planned; or this call was taken for
            dead, and another driver has come meanwhile.
        StoreError: the store can't be used; what is needed is still there.
    """

    def raise_(error: StoreError) -> None:
        raise error

    with keep_idle(catalogue, note) as check_alone:
        newest = fold(catalogue, fields, raise_)
        numbers = list_numbers(catalogue.store)
        found = {number: read_snapshot(catalogue.store, number) for number in numbers}
        snapshots = {number: snapshot for number, snapshot in found.items() if snapshot is not None}
        chosen = retention.choose({number: snapshot.created for number, snapshot in snapshots.items()})
        kept = [snapshots[number] for number in sorted(chosen)]
        needs = _find_needs(catalogue, kept, newest)
        done = {name for name, run in newest.runs.items() if run.complete}
        deleted, copied = _choose_runs(done, needs, kept)
        superseded = sum(needs[name].known - len(needs[name].rows) for name in {*deleted, *copied})
        outcome = Forgetting(
            sorted(snapshots.keys() - chosen),
            sorted(chosen),
            {name: needs[name].known for name in sorted(deleted)},
            {name: len(needs[name].rows) for name in sorted(copied)},
            newest.rows - superseded,
            {name: n for name in sorted(deleted) if (n := len(list_kept(catalogue.output, f"{name}/")))},
        )
        if dry:
            return outcome
        check_alone()
        _delete_runs(catalogue, find_abandoned(catalogue, newest), note, check_alone)
        # Where there is nothing to do, there may still be what calls that were cut off have left.
        going, gone = [number for number in numbers if not found[number]], set[str]()
        if outcome.snapshots or deleted or copied:
            moves: dict[str, Move] = {}
            for name, rows in outcome.copied.items():
                note(f"copying {rows:,} rows of {name}")
                moves[name] = copy_rows(catalogue, name, newest, needs[name].rows, fields)
            gone = {*deleted, *copied}
            check_alone()
            _rewrite(catalogue, kept, newest, moves, gone)
            going = numbers
        for number in going:
            if number <= newest.number:  # above it somebody may be writing one
                check_alone()
                _delete_snapshot(catalogue, number)
        named = {name for snapshot in kept for name in snapshot.runs}
        _delete_runs(catalogue, gone | (newest.forgotten - named), note, check_alone)
        return outcome


def _find_needs(
    catalogue: Catalogue, snapshots: Sequence[Snapshot], newest: Snapshot
) -> defaultdict[str, _Needs]:
    needs: defaultdict[str, _Needs] = defaultdict(_Needs)
    for snapshot in snapshots:
        by_plan = {run.plan: name for name, run in snapshot.runs.items()}
        for bucket in range(len(snapshot.files)):
            table = read_bucket(catalogue.store, snapshot, bucket)
            if snapshot.number == newest.number:
                for name, rows in Counter(table["run"].to_pylist()).items():
                    needs[name].known += rows
            needed = find_needed(table)
            wanted, others = table.filter(pa.array(needed)), table.filter(pa.array(~needed))
            for run, shard, row in zip(
                *(wanted[c].to_pylist() for c in ("run", "shard", "row")), strict=True
            ):
                needs[run].rows.add((shard, row))
            for number in {*wanted["plan"].to_pylist(), *wanted["gone"].to_pylist()}:
                if number in by_plan:
                    needs[by_plan[number]].plan = True
            for number, run in {*zip(others["plan"].to_pylist(), others["run"].to_pylist(), strict=True)}:
                if number in by_plan:
                    needs[by_plan[number]].says_of.add(run)
    return needs


def _choose_runs(
    done: Collection[str], needs: Mapping[str, _Needs], kept: Sequence[Snapshot]
) -> tuple[set[str], set[str]]:
    """The runs to delete, and those to delete once what is needed of them is copied."""

    def is_whole_where_known(name: str) -> bool:
        # A copy knows no parts: what a kept snapshot lacks of the run, it would have of the copy.
        folded = [snapshot.runs[name] for snapshot in kept if name in snapshot.runs]
        return all(run.complete and not (run.left_out or run.plan_left_out) for run in folded)

    nothing = _Needs()
    found = {name: needs.get(name, nothing) for name in done}
    copied = {
        name
        for name, need in found.items()
        if need.rows and len(need.rows) < COPIED_BELOW * need.known and is_whole_where_known(name)
    }
    deleted = {name for name, need in found.items() if not (need.rows or need.plan)}
    while wanted := {name for name in deleted if found[name].says_of - deleted - copied}:
        deleted -= wanted  # superseded rows that stay have the numbers of these plans
    return deleted, copied


def _rewrite(
    catalogue: Catalogue,
    kept: Sequence[Snapshot],
    newest: Snapshot,
    moves: Mapping[str, Move],
    gone: Collection[str],
) -> None:
    """Write the kept snapshots anew, the newest first and under the highest number, so that it is the newest
    at every moment."""
    ordered = sorted(kept, key=lambda snapshot: snapshot.number, reverse=True)
    for at, snapshot in enumerate(ordered):
        writer = SnapshotWriter(catalogue.store, newest.number + len(ordered) - at)
        for bucket in range(len(snapshot.files)):
            writer.add(_move_rows(read_bucket(catalogue.store, snapshot, bucket), moves, gone))
        runs = {name: run for name, run in snapshot.runs.items() if name not in gone}
        runs |= {move.run: move.folded for name, move in moves.items() if name in snapshot.runs}
        pruned = snapshot.pruned or bool(gone)
        if writer.finish(runs, newest.forgotten | set(gone), snapshot.created, pruned) is None:
            raise StoreError(
                f"{catalogue.store.uri}: another driver has made a snapshot meanwhile; nothing is deleted"
            )


def _move_rows(table: pa.Table, moves: Mapping[str, Move], gone: Collection[str]) -> pa.Table:
    """A bucket without what is forgotten; of what was copied it points to the copy."""
    rows = []
    for row in table.to_pylist():
        move = moves.get(row["run"])
        if row["run"] not in gone:
            rows.append(row)
        elif move is not None and (place := move.places.get((row["shard"], row["row"]))) is not None:
            shard, at = place
            rows.append(row | {"run": move.run, "shard": shard, "row": at})
    return pa.Table.from_pylist(rows, table.schema)


def _delete_snapshot(catalogue: Catalogue, number: int) -> None:
    """Delete a snapshot. Its marker goes first: without that it is none."""
    marker = locate_file(number, MARKER)
    keys = [entry.key for entry in catalogue.store.list(f"{number:05d}")]
    if marker in keys:
        catalogue.store.delete([marker])
    catalogue.store.delete([key for key in keys if key != marker])


def _delete_runs(
    catalogue: Catalogue, names: Collection[str], note: Callable[[str], None], check_alone: Callable[[], None]
) -> None:
    """Delete runs that no snapshot needs. `run.json` goes first: what is left without it is no run."""
    for name in sorted({*names}.intersection(catalogue.output.list_folders())):
        check_alone()
        note(f"deleting {name}")
        catalogue.output.delete([f"{name}/{RUN}"])
        catalogue.output.delete([entry.key for entry in catalogue.output.list(name)])
        catalogue.output.delete_temporaries(name)
