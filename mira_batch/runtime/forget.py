"""Deletes what a catalogue no longer needs: old snapshots, and the runs that only they needed.

The order makes it safe to be killed at any moment: rows that are still needed are copied out of runs of which
little is, and read back; then snapshots are written that point to the copies and name the runs to be deleted;
only then is anything deleted.
"""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Receipt, Tally
from mira_batch.core.types import Status
from mira_batch.runtime.busy import keep_idle
from mira_batch.runtime.ledger import FOOTER, to_json
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.merge import find_newest
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import (
    FoldedRun,
    Snapshot,
    SnapshotWriter,
    list_numbers,
    read_bucket,
    read_snapshot,
)
from mira_batch.storage.run.history import read_result_file, shard_in
from mira_batch.storage.run.layout import MODELS, PLAN, RUN, find_step_image, result_key
from mira_batch.storage.run.planfile import read_plan, read_plan_file, read_shard, write_plan_of
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.run.results import result_files, take_rows
from mira_batch.storage.stores import Store, open_store

_SPANS = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}
_ROWS = 64
"""Rows of a shard of copies."""
_BYTES = 64_000_000
"""Encoded bytes after which such a shard is closed earlier."""
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
        moves: dict[str, _Move] = {}
        for name, rows in outcome.copied.items():
            note(f"copying {rows:,} rows of {name}")
            moves[name] = _copy_rows(catalogue, name, newest, needs[name].rows, fields)
        gone = {*deleted, *outcome.copied}
        _rewrite(catalogue, [snapshots[number] for number in sorted(kept)], newest, moves, gone)
        for number in snapshots:
            catalogue.store.delete(entry.key for entry in list(catalogue.store.list(f"{number:05d}")))
        _delete_runs(catalogue, gone, note)
        return outcome


@dataclass(frozen=True, slots=True)
class _Move:
    """Where the needed rows of a run are now."""

    run: str
    folded: FoldedRun
    places: Mapping[tuple[int, int], tuple[int, int]]
    """(shard, row) before -> after."""


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


def _copy_rows(
    catalogue: Catalogue, name: str, newest: Snapshot, rows: Collection[tuple[int, int]], fields: pa.Schema
) -> _Move:
    """Copy rows of a run into one of its own, with their plan rows and step images, and read them back."""
    source = open_store(catalogue.output.locate(name), catalogue.storage, make=False)
    run, number, taken = newest.runs[name], 1, {*catalogue.output.list_folders(), *newest.forgotten}
    while (copy := f"{name.rsplit('.kept', 1)[0]}.kept{number}") in taken:
        number += 1
    target = open_store(catalogue.output.locate(copy), catalogue.storage)
    places: dict[tuple[int, int], tuple[int, int]] = {}
    plans: list[pa.Table] = []
    for shard, group in enumerate(_group(_read_rows(source, rows, fields, catalogue))):
        table = pa.concat_tables([part for _, _, part in group]).combine_chunks()
        places |= {(old, row): (shard, at) for at, (old, row, _) in enumerate(group)}
        data = results_file(table.to_pylist(), fields, {FOOTER: to_json(_make_receipt(table))})
        target.put(result_key(shard), data)
        _check_copy(target, result_key(shard), table)
        plans.append(_read_planned(source, group))
    for key in _list_step_images(source, places, fields, target):
        data = source.get(key)
        assert data is not None
        target.put(key, data)
    standing = read_plan(source)
    pointers = [] if standing is None else list(standing.pointers)
    for key in pointers:
        target.put(key, read_plan_file(source, key))
    marker = json.loads(source.get(PLAN) or b"{}")
    write_plan_of(
        target, plans, {"number": run.plan, "pointers": pointers, "digest": marker.get("digest", "")}
    )
    if (models := source.get(MODELS)) is not None:
        target.put(MODELS, models)
    about = json.loads(source.get(RUN) or b"{}")
    target.put(RUN, json.dumps({**about, "run_id": copy, "kept_of": name}, indent=2).encode())
    folded = replace(run, shards=len(plans), folded=((0, len(plans) - 1),), left_out=())
    return _Move(copy, folded, places)


_Row = tuple[int, int, pa.Table]


def _read_rows(
    source: Store, rows: Collection[tuple[int, int]], fields: pa.Schema, catalogue: Catalogue
) -> Iterator[_Row]:
    by_shard: dict[int, list[int]] = defaultdict(list)
    for shard, row in sorted(rows):
        by_shard[shard].append(row)
    fs, files = result_files(source.uri, catalogue.storage)
    for file in files:
        wanted = by_shard.pop(shard_in(file), None)
        if wanted is None:
            continue

        def take(parquet: pq.ParquetFile, wanted: list[int] = wanted) -> list[pa.Table]:
            return list(take_rows(parquet, wanted, fields.names))

        tables = read_result_file(fs, source.uri, file, list(fields), take, catalogue.storage)
        table = pa.concat_tables(tables).cast(fields)
        for at, row in enumerate(wanted):
            yield shard_in(file), row, table.slice(at, 1)
    if by_shard:
        raise StoreError(f"{source.uri}/{result_key(min(by_shard))}: is gone, and the catalogue needs it")


def _group(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    group, size = list[_Row](), 0
    for row in rows:
        size += row[2].nbytes
        group.append(row)
        if len(group) == _ROWS or size > _BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _make_receipt(table: pa.Table) -> Receipt:
    """What can be said of copied rows; where their time went is no longer known."""
    names = table.column_names
    statuses = Counter(table["status"].to_pylist())
    kinds = table["error_kind"].to_pylist() if "error_kind" in names else []
    stops = table["stop_reason"].to_pylist() if "stop_reason" in names else []
    steps = pc.call_function("sum", [table["num_steps"]]).as_py() if "num_steps" in names else 0
    return Receipt(
        tally=Tally(
            records=table.num_rows,
            ok=statuses[Status.ok.value],
            unfinished=statuses[Status.unfinished.value],
            steps=steps or 0,
            errors=dict(Counter(kind for kind in kinds if kind)),
            stops=dict(Counter(stop for stop in stops if stop)),
        )
    )


def _check_copy(target: Store, key: str, table: pa.Table) -> None:
    data = target.get(key)
    if data is None or not pq.read_table(io.BytesIO(data)).select(table.column_names).equals(table):
        raise StoreError(f"{target.locate(key)}: is not what was written; nothing is deleted")


def _read_planned(source: Store, group: Sequence[_Row]) -> pa.Table:
    """The plan's rows of these results, in their order."""
    plan = read_plan(source)
    assert plan is not None
    shards = {shard.index: shard for shard in plan.shards()}
    rows = {
        planned["record_id"]: planned
        for index in {shard for shard, _, _ in group}
        for planned in read_shard(source, shards[index])
    }
    fields = pq.read_schema(io.BytesIO(read_plan_file(source, plan.files[0])))
    return pa.Table.from_pylist([rows[part["record_id"][0].as_py()] for _, _, part in group], fields)


def _list_step_images(
    source: Store, places: Mapping[tuple[int, int], tuple[int, int]], fields: pa.Schema, target: Store
) -> list[str]:
    """Keys of step images that are objects of their own."""
    if "steps" not in fields.names:
        return []
    keys: list[str] = []
    for shard in sorted({shard for shard, _ in places.values()}):
        data = target.get(result_key(shard))
        assert data is not None
        for row in pq.read_table(io.BytesIO(data), columns=["steps"]).to_pylist():
            paths = [(step["image"] or {}).get("path") for step in row["steps"]]
            keys += [key for path in paths if (key := find_step_image(path))]
    return keys


def _rewrite(
    catalogue: Catalogue,
    kept: Sequence[Snapshot],
    newest: Snapshot,
    moves: Mapping[str, _Move],
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


def _move_rows(table: pa.Table, moves: Mapping[str, _Move], gone: Collection[str]) -> pa.Table:
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
