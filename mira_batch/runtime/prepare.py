"""Which run a command is about, and its plan: the one there is, or one that is made now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.core.receipts import Progress
from mira_batch.runtime.job import Job
from mira_batch.runtime.plan import Known, compare, write_plan
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.run import layout
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, read_plan
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, check_create_only, open_store


def open_existing(job: Job) -> Store:
    """The directory of the newest run of this job as it is configured, which must be there.

    Raises:
        RunConflict: there is no such run, or it is of another job.
    """
    if job.config.run_id:  # then it needs no look at what it reads
        spec = make_spec(job, [], "")
    else:
        source = job.find_source()
        spec = make_spec(job, source.files, source.location)
    store = open_store((layout.find_newest(spec) or spec).uri, job.config.storage, make=False)
    standing = layout.job_of(layout.read_run(store))
    if standing != job.config.job:
        raise RunConflict(f"{store.uri}: is a run of the job {standing}, not of {job.config.job}")
    return store


def make_spec(job: Job, files: Sequence[tuple[str, str]], source: str) -> RunSpec:
    """What the first run of this job over these files is.

    Args:
        job: the job.
        files: path and version of each file that it reads.
        source: where they are, as the user wrote it.
    """
    contents = content_hash(*(part for file in files for part in file))
    return RunSpec(
        job=job.config.job,
        output=job.config.output.uri,
        source=source,
        files=files,
        fingerprint=fingerprint(job.fingerprint_fields()),
        settings={**job.settings(), "manifest_content": contents},
        config=job.config.model_dump(mode="json"),
        storage=job.config.storage,
        run_id=job.config.run_id,
    )


@dataclass(frozen=True)
class Prepared:
    """A run whose directory is open."""

    spec: RunSpec
    source: Source
    store: Store
    plan: Plan | None
    """Its plan, where it has one."""
    splits: Sequence[Any]
    """Of what is to be planned; empty where nothing is."""
    next: RunSpec | None = None
    """The run that would follow upon this one, which is complete, if anything has changed since."""


def prepare(job: Job) -> Prepared:
    """Open the directory of the newest run of this job as it is configured; where there is none, make it.

    The source is cut into splits before that: a manifest that can't be used leaves no directory behind.

    Raises:
        UserError: the manifest or store can't be used, or the run was begun with other settings.
    """
    source = job.find_source()
    first = make_spec(job, source.files, source.location)
    spec = layout.find_newest(first) or first
    plan = None
    if spec.number > 1 or layout.find_newest(first) is not None:
        plan = read_plan(open_store(spec.uri, spec.storage, make=False))
    if plan is None:
        splits = source.split()
        return Prepared(spec, source, layout.open_run(spec), None, splits)
    store = layout.open_run(spec)
    follows = spec.run_id is None and job.config.output.skip_done
    if not follows or find_committed_shards(store).keys() < set(range(len(plan.sizes))):
        return Prepared(spec, source, store, plan, [])
    return Prepared(spec, source, store, plan, source.split(), replace(spec, number=spec.number + 1))


def make_plan(
    job: Job,
    run: Prepared,
    scan: Callable[[], Iterable[pa.Table]],
    read_pixels: Callable[[Sequence[pa.Table]], Iterable[pa.Table]],
    watch: Progress,
) -> tuple[Store, Plan]:
    """The run that is to go on, and its plan: made now, where there is none.

    A run that is complete has nothing to go on with. If something has changed since (an image under its name,
    an instruction that another run has tried meanwhile), a further run follows upon it.

    Args:
        job: the job.
        run: its run as it stands.
        scan: reads the splits, in order.
        read_pixels: as `compare` takes it.
        watch: told how far it is.

    Raises:
        UserError: the manifest or the store can't be used.
    """
    if run.plan is not None and run.next is None:
        return run.store, run.plan
    check_create_only(run.store)
    known = read_catalogue(job, run.spec, watch)
    with compare(job, run.spec, scan(), known, watch.planning, read_pixels) as found:
        if run.next is None:
            return run.store, write_plan(job, found, run.store, known)
        if run.plan is not None and not found.has_news:
            return run.store, run.plan
        store = layout.open_run(run.next)
        return store, write_plan(job, found, store, known)


def read_catalogue(job: Job, spec: RunSpec, watch: Progress) -> Known:
    """The catalogue of this job, with all in it that runs have committed by now.

    Raises:
        StoreError: the store can't be used, or the newest snapshot is damaged.
    """

    def warn(error: StoreError) -> None:
        watch.note(f"{error}. Its records count as not done.")

    catalogue = open_catalogue(spec.output, spec.job, spec.storage)
    return Known(catalogue, fold(catalogue, job.result_schema, warn))
