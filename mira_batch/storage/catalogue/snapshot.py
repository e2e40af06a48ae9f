"""Snapshots of a catalogue: what is known of all work under one output, as Parquet cut into buckets.

    catalogue/00007/bucket-000-1f3a….parquet   named by content
    catalogue/00007/snapshot.json              created last, create-only: takes the number, names the files

A snapshot is never changed. Two drivers that make the same number at the same time can't mix their files; the
one that comes second finds the number taken, and folds what it has into the other's.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.identity import content_hash
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records, find_buckets
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.run.layout import DamagedFile, parse_document
from mira_batch.storage.stores import Store, shorten_error

MARKER = "snapshot.json"
_FORM = 1
_NUMBER = re.compile(r"\d{5,}")
_ADVICE = "make the catalogue anew from its runs with `mira-batch catalogue rebuild`"


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
    """When its state came to be, ISO 8601 by the clock of who made it."""

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
    if found["form"] != _FORM:
        where = store.locate(_locate(number, MARKER))
        raise DamagedFile(f"{where}: is of form {found['form']}, which this version can't read; {_ADVICE}")
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
    )


def read_bucket(store: Store, snapshot: Snapshot, bucket: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of a bucket.

    Args:
        store: the directory of the catalogue.
        snapshot: one of its.
        bucket: which.
        columns: which columns; None: all.

    Raises:
        StoreError: the store can't be used, or the bucket is gone or damaged.
    """
    key = snapshot.files[bucket]

    def parse(data: bytes) -> pa.Table:
        if content_hash(data, size=4) not in key:
            raise ValueError("its content is not the one that it is named after")
        return pq.read_table(io.BytesIO(data), columns=columns)

    problem: Exception | None = None
    try:
        if (table := store.read(key, parse)) is not None:
            return table
    except (pa.ArrowException, OSError, ValueError) as error:
        problem = error
    state = "missing" if problem is None else f"damaged ({shorten_error(problem)})"
    raise DamagedFile(f"{store.locate(key)}: is {state}; {_ADVICE}") from problem


class SnapshotWriter:
    """Writes the buckets of the next snapshot one after the other."""

    def __init__(self, store: Store, number: int) -> None:
        """
        Args:
            store: the directory of the catalogue.
            number: the snapshot's.
        """
        self._store = store
        self._number = number
        self._files: list[str] = []
        self._records = self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Write the next bucket (schema `SNAPSHOT`)."""
        sink = io.BytesIO()
        names: Any = ["status", "stop_reason", "error_kind", "models", "run", "source"]
        pq.write_table(rows, sink, compression="zstd", use_dictionary=names, write_page_checksum=True)
        data = sink.getvalue()
        key = _locate(self._number, f"bucket-{len(self._files):03d}-{content_hash(data, size=4)}.parquet")
        self._store.put(key, data)
        self._files.append(key)
        self._rows += rows.num_rows
        self._records += rows["current"].to_pylist().count(True)

    def finish(
        self, runs: Mapping[str, FoldedRun], forgotten: Collection[str] = (), created: str = ""
    ) -> Snapshot | None:
        """Create the marker.

        Args:
            runs, forgotten: of the snapshot.
            created: when its state came to be; empty: now.

        Returns the snapshot; None where another driver has taken the number.
        """
        made = Snapshot(
            self._number,
            tuple(self._files),
            self._records,
            self._rows,
            dict(runs),
            frozenset(forgotten),
            created or datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return made if create_snapshot(self._store, made) else None


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
    }
    return store.create(_locate(snapshot.number, MARKER), json.dumps(document).encode())


def list_numbers(store: Store) -> list[int]:
    """The numbers of all snapshots, the highest first; of some nobody may have created the marker.

    Args:
        store: the directory of the catalogue.

    Raises:
        StoreError: the store can't be used.
    """
    return sorted((int(name) for name in store.list_folders() if _NUMBER.fullmatch(name)), reverse=True)


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


def _read_marker(store: Store, number: int) -> dict[str, Any] | None:
    key = _locate(number, MARKER)
    where = store.locate(key)
    return store.read(key, lambda data: parse_document(data, where, "form", "files", "runs", "created"))


def _expand(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def read_part(store: Store, snapshot: Snapshot, part: int, count: int) -> pa.Table:
    """The rows of one of `count` parts of a snapshot: of a bucket, where it has as many.

    Args:
        store: the directory of the catalogue.
        snapshot: one of its.
        part: which, as of `find_buckets`.
        count: how many parts there are, a power of two and at least as many as the snapshot has buckets.

    Raises:
        StoreError: as `read_bucket`.
    """
    if not snapshot.files:
        return schema.SNAPSHOT.empty_table()
    split = count // len(snapshot.files)
    rows = read_bucket(store, snapshot, part // split)
    if split == 1:
        return rows
    parts = find_buckets(digest_records(rows["record_id"].to_pylist()), count)
    return rows.filter(pa.array(parts == part))


def _locate(number: int, name: str) -> str:
    return f"{number:05d}/{name}"
