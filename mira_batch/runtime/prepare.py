"""Which run a command is about, and its plan: the one there is, or one that is made now."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunConflict, job_boundary
from mira_batch.core.identity import fingerprint
from mira_batch.core.receipts import Progress
from mira_batch.runtime.busy import BusyRun, IfRunning, await_idle, begin_alone, find_busy, read_works
from mira_batch.runtime.job import Job
from mira_batch.runtime.known import count_gone, look_at, open_catalogue_of, read_catalogue
from mira_batch.runtime.plan import Comparison, Known, compare, write_plan
from mira_batch.storage.catalogue.place import is_overtaken
from mira_batch.storage.catalogue.snapshot import find_leftovers, reuse_name
from mira_batch.storage.run import layout
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, find_plan
from mira_batch.storage.source import Source, hash_contents
from mira_batch.storage.stores import Store, check_create_only, open_store


class Reader(Protocol):
    """Reads what is to be planned: here, or on a backend if it is much."""

    def scan(self) -> Iterable[pa.Table]:
        """The job's scan of all splits, in order."""
        ...

    def read_pixels(self, parts: Sequence[pa.Table]) -> Iterable[pa.Table]:
        """`scan.digest_pixels` of each part."""
        ...


def open_existing(job: Job) -> Store:
    """The directory of the newest run of this job as it is configured, which must be there.

    Raises:
        RunConflict: there is no such run, or it is of another job.
    """
    if job.config.run_id:  # then it needs no look at what it reads
        spec = make_spec(job, [], "")
    else:
        source = find_source(job)
        spec = make_spec(job, source.files, source.location)
    store = open_store((layout.find_newest(spec) or spec).uri, job.config.storage, make=False)
    standing = layout.job_of(layout.read_run(store))
    if standing != job.config.job:
        raise RunConflict(f"{store.uri}: is a run of the job {standing}, not of {job.config.job}")
    return store


def find_source(job: Job) -> Source:
    """`job.find_source`, whose faults are named.

    Raises:
        UserError: there is nothing to read.
        JobError: the job raised something else.
    """
    with job_boundary(f"job {job.config.job}: find_source"):
        return job.find_source()


def make_spec(job: Job, files: Sequence[tuple[str, str]], source: str) -> RunSpec:
    """What the first run of this job over these files is.

    Args:
        job: the job.
        files: path and version of each file that it reads.
        source: where they are, as the user wrote it.

    Raises:
        JobError: the job's settings can't be had.
    """
    with job_boundary(f"job {job.config.job}: settings"):
        settings, pixels = job.settings(), fingerprint(job.fingerprint_fields())
    name, dated = job.config.run_id, "{date}" in (job.config.run_id or "")
    day = name.replace("{date}", f"{datetime.now(UTC):%Y-%m-%d}") if name and dated else ""
    return RunSpec(
        job=job.config.job,
        output=job.config.output.uri,
        source=source,
        files=files,
        fingerprint=pixels,
        settings={**settings, "manifest_content": hash_contents(files)} | _name_choice(job.config),
        config=job.config.model_dump(mode="json"),
        storage=job.config.storage,
        run_id=None if dated else name,
        day=day,
    )


def _name_choice(config: JobConfig) -> dict[str, Any]:
    """Which part of what it reads a run is about, where it isn't all."""
    return config.model_dump(mode="json", include={"select", "first"})


@dataclass(frozen=True)
class Prepared:
    """Which run a command is about, and how it stands. Nothing is written."""

    spec: RunSpec
    """The run that goes on; or the one that is begun, if there is something to do."""
    source: Source
    splits: Sequence[Any]
    """Of what is to be compared with the catalogue; empty where the run goes on as it was planned."""
    standing: tuple[Store, Plan] | None = None
    """The newest run there is, if it is planned: the one that goes on, or one that is complete or overtaken.
    """
    overtaken: bool = False
    """Another plan has come since, and may want what this one has still to make."""
    gone: int = 0
    """Result files of the newest run that the catalogue has, and that are there no more."""


def prepare(job: Job) -> Prepared:
    """Find the newest run of this job as it is configured.

    One that is planned and not complete goes on, if no other plan has come since. Else what the job reads is
    to be compared with the catalogue, and a further run may follow: upon one that is complete, or upon one
    that another has overtaken, whose steps it takes over.

    Raises:
        UserError: the manifest or store can't be used, or the run was begun with other settings.
    """
    source = find_source(job)
    first = make_spec(job, source.files, source.location)
    left = find_leftovers(look_at(first))
    spec = layout.find_newest(first, but=left)
    if spec is not None and spec.day and not layout.has_settings_of(spec):  # another run of the same day
        first, spec = replace(first, number=spec.number + 1), None
    if spec is None:
        return Prepared(_find_free(first, left), source, source.split())
    store = layout.find_run(spec)
    plan = None if store is None else find_plan(store)
    if store is None or plan is None:  # whoever began it got no further
        return Prepared(spec, source, source.split())
    follows = spec.run_id is None and job.config.output.skip_done and job.config.enters_catalogue
    committed = find_committed_shards(store).keys()
    gone = count_gone(spec, committed) if job.config.enters_catalogue else 0
    complete = committed >= set(range(len(plan.sizes)))
    form = layout.hash_form(spec.settings)
    overtaken = not complete and is_overtaken(look_at(spec), spec.name, plan.number, form)
    if not follows or not (complete or overtaken):
        return Prepared(spec, source, [], (store, plan), gone=gone)
    further = _find_free(replace(spec, number=spec.number + 1), left)
    return Prepared(further, source, source.split(), (store, plan), overtaken, gone)


def _find_free(spec: RunSpec, left: Container[str]) -> RunSpec:
    """The next run whose directory holds nothing of one that is forgotten."""
    while spec.name in left:
        if spec.run_id:
            raise RunConflict(
                f"{spec.uri}: holds what is left of a run that was forgotten; call `mira-batch forget` "
                "again, or choose another run_id"
            )
        spec = replace(spec, number=spec.number + 1)
    return spec


@dataclass(frozen=True)
class Surroundings:
    """What a plan is made with."""

    reader: Reader
    watch: Progress
    look_up: Callable[[], None]
    """Raises what ends a wait."""
    hold: Callable[[RunSpec], Store]
    """Opens a run's directory, in which nobody else may work from then on."""


@contextmanager
def look(
    job: Job, run: Prepared, around: Surroundings, works: pa.Array, known: Known
) -> Iterator[Comparison]:
    """What the job reads, compared with the catalogue. Nothing is written.

    Args:
        job: the job.
        run: with splits.
        around: reads them, and is told how far it is.
        works: what other runs have in hand, as of `leave_to`.
        known: the catalogue.

    Raises:
        UserError: the manifest or the store can't be used.
    """
    watch, reader = around.watch, around.reader
    with compare(job, run.spec, reader.scan(), known, watch.planning, reader.read_pixels, works) as found:
        yield found


def leave_to(busy: Sequence[BusyRun], watch: Progress) -> pa.Array:
    """The work that other runs have in hand. To be asked for before the catalogue is read: what they commit
    in between is in both then, and the other way round in neither, so that it would be made twice.

    Args:
        busy: the other runs.
        watch: told of them.

    Raises:
        StoreError: a plan is damaged.
    """
    for other in busy:
        watch.note(f"{other} is at work on this catalogue; what it has in hand is left to it")
    return read_works(busy)


def begin(
    job: Job, run: Prepared, around: Surroundings, approved: str = "", if_running: IfRunning = IfRunning.share
) -> tuple[Store, Plan] | Comparison | str:
    """The run that is to go on, and its plan: made now, where there is none.

    Runs of one catalogue begin one after the other, so that each knows what those before it have in hand.

    Args:
        job, run, around: as of `look`.
        approved: digest of the only plan that may be run; empty: any.
        if_running: what to do where another run is at work on the same catalogue.

    Returns:
        What was found, where there is nothing to do and no run to show for it; in words who is at work, where
        that is a reason not to begin.

    Raises:
        UserError: the manifest or the store can't be used.
        RunConflict: it is another plan than was approved; or another run is at work, and `if_running` is
            `fail`; or this process was taken for dead, and another has planned meanwhile.
    """
    catalogue, note = open_catalogue_of(run.spec), around.watch.note
    while True:
        if if_running is IfRunning.wait:
            await_idle(catalogue, note, around.look_up)
        look_up = None if if_running is IfRunning.skip else around.look_up
        with begin_alone(catalogue, note, look_up) as check_alone:
            if check_alone is None:
                return "a run is just being planned on this catalogue"
            # Who shares leaves its own run to its claim, which says who is at work on that.
            own = run.spec.name if if_running is IfRunning.share else ""
            busy = find_busy(catalogue, own, note)
            if busy and if_running is IfRunning.wait:
                continue
            if busy and if_running is IfRunning.skip:
                return f"{busy[0]} is at work on this catalogue"
            if busy and if_running is IfRunning.fail:
                raise RunConflict(
                    f"{run.spec.output}: {busy[0]} is at work on this catalogue; let it finish, or say what "
                    "to do with --if-running"
                )
            # Others may have planned since it was looked at.
            now = prepare(job) if run.standing else run
            return _begin(job, now, around, approved, busy, check_alone)


def _begin(
    job: Job,
    run: Prepared,
    around: Surroundings,
    approved: str,
    busy: Sequence[BusyRun],
    check_alone: Callable[[], None],
) -> tuple[Store, Plan] | Comparison:
    if run.standing is not None and run.gone:  # what is made in their place may come out otherwise
        where, files = run.standing[0].uri, "1 result file" if run.gone == 1 else f"{run.gone:,} result files"
        around.watch.note(
            f"{where}: lacks {files} by now that the catalogue has; that is made anew from its runs"
        )
        read_catalogue(job, run.spec, around.watch, anew=True)
    if not run.splits:
        assert run.standing is not None
        _check_approved(approved, run.standing[1].digest)
        return around.hold(run.spec), run.standing[1]
    works = leave_to(busy, around.watch)
    known = replace(read_catalogue(job, run.spec, around.watch), check_alone=check_alone)
    with look(job, run, around, works, known) as found:
        if (shown := find_shown(job, run, found)) is not None:
            _check_approved(approved, found.left_out.digest, shown[1].digest)  # or it is carried out by now
            return around.hold(replace(run.spec, number=run.spec.number - 1)), shown[1]
        _check_approved(approved, found.left_out.digest)
        if not (found.has_news or found.count()):
            return found
        check_alone()
        reuse_name(known.catalogue.store, run.spec.name)
        store = around.hold(run.spec)
        if (plan := find_plan(store)) is None:  # else another driver was faster
            check_create_only(store)
            plan = write_plan(job, found, store, known)
        return store, plan


def find_shown(job: Job, run: Prepared, found: Comparison) -> tuple[Store, Plan] | None:
    """The run that stays the newest, since nothing has changed since it came to its end; None: another is
    begun, if there is something to do.

    Args:
        job, run: as of `look`.
        found: what it gave.
    """
    if found.has_news or run.overtaken or job.config.select is not None:
        return None
    return run.standing


def _check_approved(approved: str, *digests: str) -> None:
    if approved and approved not in digests:
        raise RunConflict(
            f"the plan is no longer {approved}: it is {digests[0] or 'of an earlier release'} now; look at "
            "what has changed with `mira-batch plan`, and approve that"
        )
