"""Other runs that are at work on the same catalogue just now, and what they have in hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.errors import RunConflict
from mira_batch.runtime.lease import Claim, Hold, is_alive, lease, read_claim
from mira_batch.storage.catalogue.place import Catalogue, has_run
from mira_batch.storage.catalogue.snapshot import find_newest
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.planfile import Shard, read_plan, read_plan_file
from mira_batch.storage.stores import Store, open_store

_LOOK = 5.0
"""Seconds between looks at those that are waited for."""
_PLANNING = "the planning of this catalogue"


class IfRunning(StrEnum):
    """What to do where another run is at work on the same catalogue."""

    share = "share"
    """Leave to it what it has in hand, and do the rest."""
    skip = "skip"
    wait = "wait"
    fail = "fail"


@dataclass(frozen=True, slots=True)
class BusyRun:
    """A run with a driver at work on it."""

    store: Store
    claim: Claim

    def __str__(self) -> str:
        return f"{self.store.name} ({self.claim})"


def find_busy(catalogue: Catalogue, own: str, note: Callable[[str], None]) -> list[BusyRun]:
    """Runs of a catalogue that a driver is at work on. Claims that can't be judged otherwise are watched, all
    at once.

    Args:
        catalogue: of which. Runs that are complete in its newest snapshot have no driver.
        own: name of a run that is not asked for.
        note: told what a wait is for.

    Raises:
        StoreError: the store can't be used.
    """
    snapshot, found = find_newest(catalogue.store), list[BusyRun]()
    for name in catalogue.output.list_folders():
        known = snapshot.runs.get(name)
        if name in (own, "catalogue") or (known is not None and known.complete):
            continue
        store = open_store(catalogue.output.locate(name), catalogue.storage, make=False)
        if (claim := read_claim(store)) is not None and has_run(catalogue, name):
            found.append(BusyRun(store, claim))
    if not found:
        return []
    with ThreadPoolExecutor(len(found)) as pool:
        alive = list(
            pool.map(lambda run: is_alive(run.store, run.claim, note, what=f"run {run.store.name}"), found)
        )
    return [run for run, lives in zip(found, alive, strict=True) if lives]


@contextmanager
def keep_idle(catalogue: Catalogue, note: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Inside, no run is at work on a catalogue, and none begins.

    Yields what raises RunConflict where that no longer holds, since this process was asleep or cut off for so
    long that others took it for dead. To be called before what can't be undone.

    Args:
        catalogue, note: as of `find_busy`.

    Raises:
        RunConflict: a run is at work on it, or is just being planned.
        StoreError: the store can't be used.
    """

    def ignore(_: str) -> None:
        """It is asked when it matters."""

    with lease(catalogue.store, ignore, note, what=_PLANNING) as hold:
        if busy := find_busy(catalogue, "", note):
            raise RunConflict(
                f"{catalogue.output.uri}: {busy[0]} is at work on this catalogue; let it finish"
            )
        yield partial(_check_unbroken, catalogue, hold)


@contextmanager
def begin_alone(
    catalogue: Catalogue, note: Callable[[str], None], look_up: Callable[[], None] | None
) -> Iterator[Callable[[], None] | None]:
    """Inside, no other run begins on a catalogue. Yields what raises RunConflict where that no longer holds,
    as `keep_idle` does; None where one just begins, and is not to be waited for.

    Args:
        catalogue: which.
        note: told what a wait is for.
        look_up: raises what ends the wait; None: don't wait.

    Raises:
        StoreError: the store can't be used.
    """
    told = False

    def await_turn() -> None:
        nonlocal told
        assert look_up is not None
        look_up()
        if not told:
            note(f"another run is just being planned: {read_claim(catalogue.store)}; waiting")
        told = True

    def ignore(_: str) -> None:
        """It is asked when it matters."""

    with ExitStack() as stack:
        try:
            turn = None if look_up is None else await_turn
            hold = stack.enter_context(lease(catalogue.store, ignore, note, await_turn=turn, what=_PLANNING))
        except RunConflict:
            yield None
            return
        yield partial(_check_unbroken, catalogue, hold)


def _check_unbroken(catalogue: Catalogue, hold: Hold) -> None:
    if not hold.is_unbroken():
        raise RunConflict(
            f"{catalogue.output.uri}: another driver is at work on this catalogue, or was: it came at the "
            "same moment, or this one was asleep or cut off until it counted as dead; call it again"
        )


def await_idle(catalogue: Catalogue, note: Callable[[str], None], look_up: Callable[[], None]) -> None:
    """Wait until no run is at work on a catalogue.

    Args:
        catalogue, note: as of `find_busy`.
        look_up: raises what ends the wait.
    """
    told: list[str] = []
    said: set[str] = set()

    def hear(line: str) -> None:
        """What each look waits for is said once."""
        if line not in said:
            said.add(line)
            note(line)

    while busy := find_busy(catalogue, "", hear):
        names = [run.store.name for run in busy]
        if names != told:
            note(f"waiting for {', '.join(map(str, busy))}")
            told = names
        for _ in range(int(_LOOK * 10)):
            look_up()
            time.sleep(0.1)


def read_works(busy: Sequence[BusyRun]) -> pa.Array:
    """The work_ids that these runs have still to commit.

    Raises:
        StoreError: a plan is damaged.
    """
    found: list[pa.Array] = [pa.array([], pa.string())]
    for run in busy:
        if (plan := read_plan(run.store)) is None:
            continue
        done = find_committed_shards(run.store)
        by_file: dict[str, list[Shard]] = {}
        for shard in plan.shards():
            if shard.index not in done:
                by_file.setdefault(shard.file, []).append(shard)
        for file, shards in by_file.items():
            with pq.ParquetFile(pa.BufferReader(read_plan_file(run.store, file))) as parquet:
                groups = [shard.row_group for shard in shards]
                found.append(parquet.read_row_groups(groups, columns=["work_id"])["work_id"].combine_chunks())
    return pa.concat_arrays(found)
