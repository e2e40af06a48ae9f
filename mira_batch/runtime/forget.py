"""Deletes what a catalogue no longer needs: old snapshots, and the runs that only they needed.

The order makes it safe to be killed at any moment: rows that are still needed are copied out of runs of which
little is, and read back; then snapshots are written that point to the copies and name the runs to be deleted;
only then is anything deleted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mira_batch.core.errors import StoreError
from mira_batch.runtime.busy import keep_idle
from mira_batch.runtime.copies import Move, copy_rows
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter, read_bucket
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.merge import find_newest
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import Snapshot, list_numbers, read_snapshot
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
            created: when each was made, ISO 8601, by number.
        """
        numbers = sorted(created, reverse=True)
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


@dataclass
class _Needs:
    """Which rows of a run the kept snapshots point to."""

    rows: set[tuple[int, int]] = field(default_factory=set)
    """(shard, row in it)."""
    plan: bool = False
    """Its plan says of a row that it is current, or that its record is gone."""
    known: int = 0
    """Rows of it that the newest snapshot knows."""


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
        RunConflict: a run is at work on the catalogue, or is just being planned.
        StoreError: the store can't be used; what is needed is still there.
    """

    def raise_(error: StoreError) -> None:
        raise error

    with keep_idle(catalogue, note):
        newest = fold(catalogue, fields, raise_)
        if not dry:
            _delete_runs(catalogue, newest.forgotten, note)  # what an earlier call could not
        found = {number: read_snapshot(catalogue.store, number) for number in list_numbers(catalogue.store)}
        snapshots = {number: snapshot for number, snapshot in found.items() if snapshot is not None}
        kept = retention.choose({number: snapshot.created for number, snapshot in snapshots.items()})
        kept |= {newest.number} if newest.number else set()
        needs = _find_needs(catalogue, [snapshots[number] for number in kept], newest)
        done = {name for name, run in newest.runs.items() if run.complete}
        deleted = {n: needs[n].known for n in done if not (needs[n].rows or needs[n].plan)}
        little = {n for n in done - deleted.keys() if len(needs[n].rows) < COPIED_BELOW * needs[n].known}
        outcome = Forgetting(
            sorted(snapshots.keys() - kept),
            sorted(kept),
            deleted,
            {name: len(needs[name].rows) for name in sorted(little) if needs[name].rows},
            newest.rows - sum(needs[n].known - len(needs[n].rows) for n in {*deleted, *little}),
        )
        if dry or not (outcome.snapshots or deleted or outcome.copied):
            return outcome
        moves: dict[str, Move] = {}
        for name, rows in outcome.copied.items():
            note(f"copying {rows:,} rows of {name}")
            moves[name] = copy_rows(catalogue, name, newest, needs[name].rows, fields)
        gone = {*deleted, *outcome.copied}
        _rewrite(catalogue, [snapshots[number] for number in sorted(kept)], newest, moves, gone)
        for number in snapshots:
            catalogue.store.delete(entry.key for entry in list(catalogue.store.list(f"{number:05d}")))
        _delete_runs(catalogue, gone, note)
        return outcome


def _find_needs(
    catalogue: Catalogue, snapshots: Sequence[Snapshot], newest: Snapshot
) -> defaultdict[str, _Needs]:
    needs: defaultdict[str, _Needs] = defaultdict(_Needs)
    for snapshot in snapshots:
        by_plan = {run.plan: name for name, run in snapshot.runs.items()}
        plans: Counter[int] = Counter()
        for bucket in range(len(snapshot.files)):
            table = read_bucket(catalogue.store, snapshot, bucket)
            if snapshot.number == newest.number:
                for name, rows in zip(
                    *np.unique(table["run"].to_numpy(False), return_counts=True), strict=True
                ):
                    needs[name].known += int(rows)
            wanted = table.filter(pa.array(_is_needed(table)))
            for run, shard, row in zip(
                *(wanted[c].to_pylist() for c in ("run", "shard", "row")), strict=True
            ):
                needs[run].rows.add((shard, row))
            plans.update(wanted["plan"].to_pylist())
            plans.update(number for number in wanted["gone"].to_pylist() if number is not None)
        for number in plans:
            if number in by_plan:
                needs[by_plan[number]].plan = True
    return needs


def _is_needed(table: pa.Table) -> Any:
    return table["current"].to_numpy() | find_newest(table)


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
        if writer.finish(runs, newest.forgotten | set(gone), snapshot.created) is None:
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


def _delete_runs(catalogue: Catalogue, names: Collection[str], note: Callable[[str], None]) -> None:
    """Delete runs that no snapshot needs. `run.json` goes first: what is left without it is no run."""
    for name in sorted(names):
        keys = [entry.key for entry in catalogue.output.list(name)]
        if not keys:
            continue
        note(f"deleting {name}")
        catalogue.output.delete([f"{name}/{RUN}"])
        catalogue.output.delete([key for key in keys if key != f"{name}/{RUN}"])
