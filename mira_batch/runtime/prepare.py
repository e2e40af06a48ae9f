"""Which run a command is about, and its plan: the one there is, or one that is made now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.core.receipts import Progress
from mira_batch.runtime.job import Job
from mira_batch.runtime.plan import Comparison, Known, compare, write_plan
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.run import layout
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, read_plan
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, check_create_only, open_store


class Reader(Protocol):
    """Reads what is to be planned: here, or on a backend if it is much."""

    def scan(self) -> Iterable[pa.Table]:
        """The job's scan of all splits, in order."""
        ...

    def read_pixels(self, parts: Sequence[pa.Table]) -> Iterable[pa.Table]:
        """`plan.digest_pixels` of each part."""
        ...


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
        settings={**job.settings(), "manifest_content": contents} | _name_selection(job.config),
        config=job.config.model_dump(mode="json"),
        storage=job.config.storage,
        run_id=job.config.run_id,
    )


def _name_selection(config: JobConfig) -> dict[str, Any]:
    return {} if config.select is None else {"select": config.select.model_dump(mode="json")}


@dataclass(frozen=True)
class Prepared:
    """Which run a command is about, and how it stands. Nothing is written."""

    spec: RunSpec
    """The run that goes on; or the one that is begun, if there is something to do."""
    source: Source
    splits: Sequence[Any]
    """Of what is to be compared with the catalogue; empty where the run goes on as it was planned."""
    standing: tuple[Store, Plan] | None = None
    """The newest run there is, if it is planned: the one that goes on, or one that is complete."""


def prepare(job: Job) -> Prepared:
    """Find the newest run of this job as it is configured.

    One that is planned and not complete goes on. Else what the job reads is to be compared with the
    catalogue: a run that is complete has nothing to go on with, but a further one may follow upon it.

    Raises:
        UserError: the manifest or store can't be used, or the run was begun with other settings.
    """
    source = job.find_source()
    first = make_spec(job, source.files, source.location)
    spec = layout.find_newest(first)
    if spec is None:
        return Prepared(first, source, source.split())
    store = layout.open_run(spec)
    plan = read_plan(store)
    if plan is None:
        return Prepared(spec, source, source.split())
    follows = spec.run_id is None and job.config.output.skip_done
    if not follows or find_committed_shards(store).keys() < set(range(len(plan.sizes))):
        return Prepared(spec, source, [], (store, plan))
    return Prepared(replace(spec, number=spec.number + 1), source, source.split(), (store, plan))


@contextmanager
def look(job: Job, run: Prepared, reader: Reader, watch: Progress) -> Iterator[tuple[Known, Comparison]]:
    """What the job reads, compared with the catalogue. Nothing of a run is written; the catalogue's snapshot
    is brought up to date.

    Args:
        job: the job.
        run: with splits.
        reader: reads them.
        watch: told how far it is.

    Raises:
        UserError: the manifest or the store can't be used.
    """
    known = read_catalogue(job, run.spec, watch)
    with compare(job, run.spec, reader.scan(), known, watch.planning, reader.read_pixels) as found:
        yield known, found


def begin(
    job: Job,
    run: Prepared,
    reader: Reader,
    watch: Progress,
    hold: Callable[[RunSpec], Store],
    approved: str = "",
) -> tuple[Store, Plan] | Comparison:
    """The run that is to go on, and its plan: made now, where there is none.

    Args:
        job, run, reader, watch: as of `look`.
        hold: opens a run's directory, which nobody else may work in from then on.
        approved: digest of the only plan that may be run; empty: any.

    Returns:
        What was found, where there is nothing to do and no run to show for it.

    Raises:
        UserError: the manifest or the store can't be used.
        RunConflict: it is another plan than was approved.
    """
    if not run.splits:
        assert run.standing is not None
        _check_approved(run.standing[1].digest, approved)
        return hold(run.spec), run.standing[1]
    with look(job, run, reader, watch) as (known, found):
        _check_approved(found.left_out.digest, approved)
        wanted = found.count() if run.standing is None or job.config.select is not None else 0
        if not (found.has_news or wanted):
            if run.standing is None:
                return found
            return hold(replace(run.spec, number=run.spec.number - 1)), run.standing[1]
        store = hold(run.spec)
        if (plan := read_plan(store)) is None:  # else another driver was faster
            check_create_only(store)
            plan = write_plan(job, found, store, known)
        return store, plan


def _check_approved(digest: str, approved: str) -> None:
    if approved and digest != approved:
        raise RunConflict(
            f"the plan is no longer {approved}: it is {digest or 'of an earlier release'} now; look at what "
            "has changed with `mira-batch plan`, and approve that"
        )


def read_catalogue(job: Job, spec: RunSpec, watch: Progress) -> Known:
    """The catalogue of this job, with all in it that runs have committed by now.

    Raises:
        StoreError: the store can't be used, or the newest snapshot is damaged.
    """

    def warn(error: StoreError) -> None:
        watch.note(f"{error}. Its records count as not done.")

    catalogue = open_catalogue(spec.output, spec.job, spec.storage)
    return Known(catalogue, fold(catalogue, job.result_schema, warn))
