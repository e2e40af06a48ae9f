"""What has come into a catalogue since its newest snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mira_batch.core.errors import StoreError
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import Snapshot, find_newest, list_numbers, read_snapshot
from mira_batch.storage.run import layout
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import DamagedFile
from mira_batch.storage.run.planfile import Plan, read_plan
from mira_batch.storage.run.rollouts import is_apart
from mira_batch.storage.stores import Store, open_store


@dataclass(frozen=True, slots=True)
class Run:
    """A run with something to fold."""

    store: Store
    """Its directory."""
    number: int
    """Of its plan."""
    source: str
    """The manifest that it was planned over."""
    form: str
    plan: Plan | None
    """None where nothing but results is left of it."""
    committed: frozenset[int]
    """Shards that have a result file."""
    copy_of: str = ""
    """Name of the run of which it is a copy of some rows; empty if it is a run of its own."""
    apart: bool = False
    """It is no part of the catalogue."""

    @property
    def name(self) -> str:
        """Of its directory."""
        return self.store.name

    @property
    def shards(self) -> int:
        """How many shards it has; -1 where nobody knows."""
        return len(self.plan.sizes) if self.plan is not None else -1


@dataclass(frozen=True, slots=True)
class Pending:
    """A snapshot, and what has come since."""

    base: Snapshot
    runs: Sequence[Run]
    """Those that have committed more than the snapshot knows, by the order of their plans."""
    removed: frozenset[str] = frozenset()
    """Runs that were rolled back and that are there no more."""
    unplanned: int = 0
    """How many runs have nothing yet that could be folded."""
    names: frozenset[str] = frozenset()
    """The folders below the output."""
    anew: bool = False
    """Of the runs that the snapshot knows it has nothing: all is made anew."""


def find_pending(
    catalogue: Catalogue, on_damaged: Callable[[StoreError], None], anew: bool = False
) -> Pending:
    """The newest snapshot of a catalogue, and which runs have something that is not in it.

    Where a run that is in it was deleted by hand, all is made anew: of what that run had superseded the
    snapshot knows nothing.

    Args:
        catalogue, on_damaged, anew: as of `fold`.

    Raises:
        StoreError: as of `fold`.
    """
    newest = Snapshot(0) if anew else find_newest(catalogue.store)
    names = catalogue.output.list_folders()
    anew = anew or not newest.runs.keys() <= set(names)
    base, numbers = _find_rolled_back(catalogue.store) if anew else (newest, _list_plans(newest))
    found: list[tuple[Run, str]] = []
    unplanned = 0
    for name in names:
        known = base.runs.get(name)
        plan_is_in = known is not None and (known.plan_left_out or not anew)
        if (known is not None and known.complete and plan_is_in) or name in base.forgotten:
            continue
        store = open_store(catalogue.output.locate(name), catalogue.storage, make=False)
        try:
            run = look_at_run(store, catalogue.job)
        except layout.DamagedFile as error:
            on_damaged(error)
            continue
        if run is None or run[0].apart or (known is None and _is_spare(catalogue, base, run[0])):
            continue
        if run[0].plan is None and not run[0].committed:
            unplanned += 1
        elif known is None or not plan_is_in or run[0].committed - set(known.expand()):
            found.append(run)
    removed = frozenset(base.runs) - set(names)
    return Pending(base, _number(found, numbers), removed, unplanned, frozenset(names), anew)


def _list_plans(snapshot: Snapshot) -> dict[str, int]:
    return {name: run.plan for name, run in snapshot.runs.items()}


def _find_rolled_back(store: Store) -> tuple[Snapshot, dict[str, int]]:
    """A snapshot of nothing under the newest number, which knows what the catalogue was rolled back behind;
    and the numbers of the plans that it had."""
    numbers = list_numbers(store)
    for number in numbers:
        with suppress(DamagedFile):
            if (found := read_snapshot(store, number)) is not None:
                kept = {n: run for n, run in found.runs.items() if run.left_out or run.plan_left_out}
                runs = {name: replace(run, folded=run.left_out) for name, run in kept.items()}
                return Snapshot(numbers[0], runs=runs, forgotten=found.forgotten), _list_plans(found)
    return Snapshot(max(numbers, default=0)), {}


def _number(found: Sequence[tuple[Run, str]], known: Mapping[str, int]) -> list[Run]:
    """Runs by the numbers of their plans. Those of earlier releases have none but those that a catalogue
    gives them: new ones come before all others, by the times at which they were begun."""
    first = min([0, *known.values()])
    ordered = sorted(found, key=lambda run: (run[1], run[0].name))
    early = [run.name for run, _ in ordered if not run.number and run.name not in known]
    numbers = {**known, **{name: first + at - len(early) for at, name in enumerate(early)}}
    runs = [replace(run, number=run.number or numbers[run.name]) for run, _ in found]
    return sorted(runs, key=lambda run: run.number)


def look_at_run(store: Store, job: str) -> tuple[Run, str] | None:
    """A folder as a run of this job that is planned, and when it was begun; None if it is something else.

    Args:
        store: the folder.
        job: name of the job.

    Raises:
        StoreError: the store can't be used, or the run is damaged.
    """
    about = store.read(layout.RUN, lambda data: layout.parse_run(data, store.locate(layout.RUN)))
    if about is None or layout.job_of(about) != job:
        return None
    source = layout.name_source(about["settings"])
    form = layout.hash_form(about["settings"])
    plan, committed = read_plan(store), frozenset(find_committed_shards(store))
    copy_of = str(about.get(layout.COPY_OF, ""))
    number = plan.number if plan else 0
    run = Run(store, number, source, form, plan, committed, copy_of, is_apart(about))
    return run, str(about.get("created", ""))


def _is_spare(catalogue: Catalogue, base: Snapshot, run: Run) -> bool:
    """Whether it is a copy of a run that is still there as well: who made it was cut off."""
    return (
        bool(run.copy_of)
        and run.copy_of not in base.forgotten
        and catalogue.output.exists(f"{run.copy_of}/{layout.RUN}")
    )
