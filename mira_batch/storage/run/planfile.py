"""The plan: which records make up which shard. Written once, read shard by shard.

Plan files are named by content and the marker `plan/plan.json`, created last, names them: a driver that
died half-way, or a second one that planned at the same time, can never mix two plans.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash
from mira_batch.core.receipts import CauseCount
from mira_batch.storage.run import layout
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.stores import Store, shorten_error

SHARDS_PER_FILE = 256
_OPEN_FILES = 2
"""Of a plan, at once: shards are read in their order, more or less."""
_NAMED = re.compile(r"(?:plan|pointers)-\d+-([0-9a-f]{8})\.parquet$")


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard by name: enough for a worker to read it."""

    index: int
    file: str
    """Plan file's key."""
    row_group: int
    records: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan, without its rows."""

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    """Records per shard."""
    rejected: int
    skipped: int
    """Records left out because an earlier run has them."""
    number: int = 0
    """Its place among all plans under the output; 0 where an earlier release made it, which knew none."""
    pointers: tuple[str, ...] = ()
    """Keys of the files that say which rows stand for records that are not run."""
    causes: Mapping[str, CauseCount] = field(default_factory=dict)
    """Why it runs what it runs, and what it leaves out; see `catalogue.join.Cause`."""
    digest: str = ""
    """Of what it does; empty where an earlier release made it."""

    @property
    def records(self) -> int:
        """Records of all shards together."""
        return sum(self.sizes)

    def shards(self) -> Iterator[Shard]:
        """All shards, in order."""
        for index, size in enumerate(self.sizes):
            yield Shard(index, self.files[index // SHARDS_PER_FILE], index % SHARDS_PER_FILE, size)


_PLAN = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class SkippedBy:
    """Records left out because models of these identities have done them in an earlier run."""

    models: Mapping[str, str | None]
    """Identity by role; None where there was no such model."""
    records: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a plan doesn't run, and why it runs the rest."""

    records: int = 0
    """Those left out because an earlier run has them."""
    by: Sequence[SkippedBy] = ()
    """The same by the models that made them, for `identities.check_identities`."""
    causes: Mapping[str, CauseCount] = field(default_factory=dict)
    """By name of the cause, the most frequent first."""
    digest: str = ""
    """Of what the plan does: the records that it runs, in order, and what it says of others."""


def read_plan(store: Store) -> Plan | None:
    """The plan of a run, or None while there is no whole one.

    Raises:
        StoreError: its marker is damaged.
    """
    found = layout.read_document(store, layout.PLAN, "files", "sizes", "rejected", "skipped")
    if found is None:
        return None
    try:
        return _PLAN.validate_python(found)
    except ValidationError as error:
        wrong = (".".join(map(str, each["loc"])) for each in error.errors(include_url=False))
        problem = f"it is no plan: {', '.join(wrong)}"
        raise layout.DamagedFile(layout.describe_damage(store.locate(layout.PLAN), problem)) from None


def find_plan(store: Store) -> Plan | None:
    """`read_plan`, for who would make a plan where there is none.

    Raises:
        StoreError: its marker is damaged, or it is lost: results are there. One that is made anew may cut
            other shards, which would count as committed by files that hold other records.
    """
    plan = read_plan(store)
    if plan is None and (lost := explain_lost_plan(store)):
        raise StoreError(lost)
    return plan


def explain_lost_plan(store: Store) -> str | None:
    """What to do about a run without a plan that has results; None where it has none."""
    results = len(find_committed_shards(store))
    if not results:
        return None
    files = "1 result file is" if results == 1 else f"{results:,} result files are"
    return (
        f"{store.locate(layout.PLAN)}: the plan is lost, and {files} there that can be held against nothing; "
        "put plan/ back from a copy, or run anew with another run_id. A plan that is made again here may "
        "divide records otherwise"
    )


def read_plan_file(store: Store, key: str) -> bytes:
    """A plan file's bytes, which are what its name says.

    Args:
        store: the run's directory.
        key: the file's.

    Raises:
        StoreError: it is gone or damaged.
    """
    state, damage = "missing", None
    try:
        if (data := store.read(key, lambda data: _check_plan_file(key, data))) is not None:
            return data
    except (pa.ArrowException, OSError, ValueError) as error:
        state, damage = f"damaged ({shorten_error(error)})", error
    raise StoreError(
        f"{store.locate(key)}: this plan file is {state}; restore it, or leave this run and choose another "
        "run_id or output.uri"
    ) from damage


def _check_plan_file(key: str, data: bytes) -> bytes:
    pq.read_metadata(pa.BufferReader(data))
    named = _NAMED.search(key)
    if named and content_hash(data, size=4) != named[1]:
        raise ValueError("its content is not the one that it is named after")
    return data


class PlanReader:
    """Reads shards of a plan. A file of it stays open for its next shards: to open one takes milliseconds,
    since all of its row groups are listed, and it has many. Threads may share a reader."""

    def __init__(self, store: Store, columns: Sequence[str] | None = None) -> None:
        """Nothing is read yet.

        Args:
            store: the run's directory.
            columns: those that are wanted; a plan of an earlier release may lack some. None: all.
        """
        self._store = store
        self._columns = None if columns is None else list(columns)
        self._open = lru_cache(maxsize=_OPEN_FILES)(self._open_file)
        self._lock = threading.Lock()

    def read(self, shard: Shard) -> list[dict[str, Any]]:
        """The plan rows of a shard.

        Raises:
            StoreError: the plan file is gone or damaged.
        """
        with self._lock:
            rows = self._open(shard.file).read_row_group(shard.row_group, self._columns, use_threads=False)
        return rows.to_pylist()

    def read_schema(self, key: str) -> pa.Schema:
        """The columns that a plan file has.

        Args:
            key: of the plan file.

        Raises:
            StoreError: the plan file is gone or damaged.
        """
        with self._lock:
            return self._open(key).schema_arrow

    def _open_file(self, key: str) -> pq.ParquetFile:
        return pq.ParquetFile(pa.BufferReader(read_plan_file(self._store, key)))


def read_shard(store: Store, shard: Shard) -> list[dict[str, Any]]:
    """The plan rows of one shard; of several take a `PlanReader`.

    Args:
        store: the run's directory.
        shard: which.

    Raises:
        StoreError: the plan file is gone or damaged.
    """
    return PlanReader(store).read(shard)


def read_pointers(store: Store, key: str) -> pa.Table:
    """Which rows stand for records that are not run (schema `POINTERS`).

    Args:
        store: the run's directory.
        key: of one of `Plan.pointers`.

    Raises:
        StoreError: the file is gone or damaged.
    """
    return pq.read_table(pa.BufferReader(read_plan_file(store, key)))


def read_rejects(store: Store) -> list[dict[str, Any]]:
    """The manifest rows that could not be used.

    Raises:
        DamagedFile: what is noted of them can't be read.
    """
    return _read_rejects(store, lambda table: table.to_pylist())


def count_rejects(store: Store) -> dict[str, int]:
    """How many manifest rows could not be used, by reason.

    Raises:
        DamagedFile: what is noted of them can't be read.
    """
    counts = _read_rejects(store, lambda table: table["reason"].value_counts().to_pylist(), ["reason"])
    return {each["values"]: each["counts"] for each in counts}


def _read_rejects(
    store: Store,
    read: Callable[[pa.Table], list[dict[str, Any]]],
    columns: list[str] | None = None,
) -> list[dict[str, Any]]:
    def parse(data: bytes) -> list[dict[str, Any]]:
        return read(pq.read_table(pa.BufferReader(data), columns=columns))

    try:
        return store.read(layout.REJECTS, parse) or []
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise layout.DamagedFile(
            f"{store.locate(layout.REJECTS)}: is damaged ({shorten_error(error)}); restore it, or leave this "
            "run and choose another run_id or output.uri"
        ) from error
