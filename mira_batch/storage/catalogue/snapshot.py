"""Snapshots of a catalogue: what is known of all work under one output, as Parquet cut into buckets.

    catalogue/00007/bucket-000-1f3a….parquet   named by content
    catalogue/00007/snapshot.json              created last, create-only: takes the number, names the files

A snapshot is never changed. Two drivers that make the same number at the same time can't mix their files; the
one that comes second finds the number taken, and folds what it has into the other's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.run.layout import DamagedFile, parse_document
from mira_batch.storage.stores import Store

MARKER = "snapshot.json"
_FORM = 2
"""Of the snapshots that are made: those of form 1 lack the facts of fidelity, which are then null."""
_READABLE = (1, 2)
_SET_BACK = timedelta(minutes=1)
"""How far a clock is corrected, and a snapshot's time goes on nonetheless."""
_NUMBER = re.compile(r"\d{5,}")
ADVICE = "make the catalogue anew from its runs with `mira-batch catalogue rebuild`"
"""What to do about a damaged file of a snapshot."""


@dataclass(frozen=True, slots=True)
class FoldedRun:
    """A run as far as a snapshot knows it."""

    plan: int
    """The number of its plan: by it the newest is known, and never by a clock."""
    form: str
    """Hash of its settings but for what it read: rows of another form don't stand in for those of a run."""
    shards: int
    """How many shards it has; -1 where nobody knows."""
    folded: tuple[tuple[int, int], ...] = ()
    """Those that were looked at: first and last of each row without a gap."""
    left_out: tuple[tuple[int, int], ...] = ()
    """Of those, the ones whose results are not in the snapshot, since it was rolled back."""
    plan_left_out: bool = False
    """Whether neither is what its plan says of records that it doesn't run."""

    def expand(self) -> Iterator[int]:
        """The shards that were looked at."""
        return _expand(self.folded)

    def expand_left_out(self) -> Iterator[int]:
        """The shards whose results are not in the snapshot, since it was rolled back."""
        return _expand(self.left_out)

    @property
    def complete(self) -> bool:
        """Whether all its results were looked at."""
        return sum(last - first + 1 for first, last in self.folded) == self.shards


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot without its rows."""

    number: int
    """From 1 on; 0 is the empty one before the first."""
    files: tuple[str, ...] = ()
    """Key of each bucket."""
    records: int = 0
    """Records that the catalogue has."""
    rows: int = 0
    runs: Mapping[str, FoldedRun] = field(default_factory=dict)
    """By name."""
    forgotten: frozenset[str] = frozenset()
    """Runs whose results nobody needs any more. They are being deleted."""
    created: str = ""
    """When its state came to be, ISO 8601 by the clock of who made it. Where the same state is written anew,
    it stays: by it the two are known as one."""
    pruned: bool = False
    """Whether runs were forgotten: of superseded work it may lack what other runs have made as well."""

    @property
    def newest_plan(self) -> int:
        """The highest number of a plan in it; 0 where there is none."""
        return max((run.plan for run in self.runs.values()), default=0)


def find_newest(store: Store) -> Snapshot:
    """The newest snapshot of a catalogue: a LIST and a GET.

    Args:
        store: the directory of the catalogue.

    Raises:
        StoreError: the store can't be used, or the snapshot's marker is damaged.
    """
    for number in list_numbers(store):
        if (found := read_snapshot(store, number)) is not None:
            return found
    return Snapshot(0)


def find_leftovers(catalogue: Catalogue) -> frozenset[str]:
    """Names of runs that are forgotten and not yet deleted as a whole.

    Raises:
        StoreError: as `find_newest`.
    """
    forgotten = find_newest(catalogue.store).forgotten
    return forgotten.intersection(catalogue.output.list_folders()) if forgotten else forgotten


def reuse_name(store: Store, name: str) -> None:
    """Have a run that begins be known, though it has the name of a forgotten one that is deleted as a whole.

    Args:
        store: the directory of the catalogue.
        name: of the run.

    Raises:
        StoreError: as `find_newest`.
    """
    while name in (newest := find_newest(store)).forgotten:
        create_snapshot(store, replace(newest, number=newest.number + 1, forgotten=newest.forgotten - {name}))


def read_snapshot(store: Store, number: int) -> Snapshot | None:
    """A snapshot; None where there is none of this number.

    Raises:
        StoreError: the store can't be used, or its marker is damaged.
    """
    found = _read_marker(store, number)
    if found is None:
        return None
    if found["form"] not in _READABLE:
        where = store.locate(locate_file(number, MARKER))
        raise DamagedFile(f"{where}: is of form {found['form']}, which this version can't read; {ADVICE}")
    runs = {
        name: FoldedRun(
            run["plan"],
            run["form"],
            run["shards"],
            tuple(map(tuple, run["folded"])),
            tuple(map(tuple, run["left_out"])),
            run["plan_left_out"],
        )
        for name, run in found["runs"].items()
    }
    return Snapshot(
        number,
        tuple(found["files"]),
        found["records"],
        found["rows"],
        runs,
        frozenset(found["forgotten"]),
        found["created"],
        found.get("pruned", False),
    )


def create_snapshot(store: Store, snapshot: Snapshot) -> bool:
    """Create the marker of a snapshot whose buckets are there; False where its number is taken.

    Args:
        store: the directory of the catalogue.
        snapshot: its buckets may be those of an earlier one.

    Raises:
        StoreError: the store can't be used.
    """
    document = {
        "form": _FORM,
        "created": snapshot.created,
        "files": snapshot.files,
        "records": snapshot.records,
        "rows": snapshot.rows,
        "runs": {name: asdict(run) for name, run in snapshot.runs.items()},
        "forgotten": sorted(snapshot.forgotten),
        "pruned": snapshot.pruned,
    }
    return store.create(locate_file(snapshot.number, MARKER), json.dumps(document).encode())


def list_numbers(store: Store) -> list[int]:
    """The numbers of all snapshots, the highest first; of some nobody may have created the marker.

    Args:
        store: the directory of the catalogue.

    Raises:
        StoreError: the store can't be used.
    """
    return sorted((int(name) for name in store.list_folders() if _NUMBER.fullmatch(name)), reverse=True)


def is_behind(store: Store, number: int) -> bool:
    """Whether there is a snapshot with a higher number than this one.

    Args:
        store: the directory of the catalogue.
        number: of a snapshot.

    Raises:
        StoreError: the store can't be used.
    """
    return any(store.exists(locate_file(n, MARKER)) for n in list_numbers(store) if n > number)


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """A snapshot in a list."""

    number: int
    created: str
    """ISO 8601, by the clock of who made it."""
    records: int
    runs: int


def list_snapshots(store: Store) -> list[SnapshotEntry]:
    """All snapshots of a catalogue, the newest first.

    Args:
        store: the directory of the catalogue.

    Raises:
        StoreError: the store can't be used, or a marker is damaged.
    """
    found = []
    for number in list_numbers(store):
        if (document := _read_marker(store, number)) is not None:
            counts = (document["records"], len(document["runs"]))
            found.append(SnapshotEntry(number, document["created"], *counts))
    return found


def read_clock(before: Snapshot | None = None) -> str:
    """Now, as `Snapshot.created` says it: so finely that no two states share it. Where the clock stands, or
    has been set back a little, it is the moment after that of the snapshot before.

    Args:
        before: the snapshot that is followed, if any.
    """
    now = datetime.now(UTC)
    if before is not None and before.created:
        then = datetime.fromisoformat(before.created)
        if timedelta(0) <= then - now < _SET_BACK:
            now = then + timedelta(microseconds=1)
    return now.isoformat(timespec="microseconds")


def _read_marker(store: Store, number: int) -> dict[str, Any] | None:
    key = locate_file(number, MARKER)
    where = store.locate(key)
    return store.read(key, lambda data: parse_document(data, where, "form", "files", "runs", "created"))


def _expand(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def locate_file(number: int, name: str) -> str:
    """The key of a file of a snapshot's, in the directory of the catalogue."""
    return f"{number:05d}/{name}"
