"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunConflict, RunStopped, StoreError
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.backends import Backend, make_backend
from mira_batch.runtime.drive import drive, watch_deadline
from mira_batch.runtime.job import Job
from mira_batch.runtime.lease import is_alive, lease, read_claim
from mira_batch.runtime.ledger import Ledger, find_committed_shards, sum_receipts
from mira_batch.runtime.plan import make_plan, needs_backend, scan_split
from mira_batch.runtime.pool import Assignment
from mira_batch.runtime.preflight import check_output
from mira_batch.runtime.trace import Profile
from mira_batch.storage.run import layout
from mira_batch.storage.run.clean import Cleaned, delete_leftovers, delete_state
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, Shard, read_plan
from mira_batch.storage.run.verify import Verdict
from mira_batch.storage.run.verify import verify as verify_run
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, check_create_only, open_store


def run(
    job: Job,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    takeover: bool = False,
    profile: bool = False,
) -> RunSummary:
    """Run the job to its end, going on from wherever an earlier call stopped.

    Args:
        job: what to do with each record.
        progress: told what happens while it does.
        stop: by this another thread or a signal handler can end the run in order.
        takeover: take the run over from a driver that is at work on it; that one ends in order.
        profile: write where the time went to `<run>/profile.json`.

    Raises:
        UserError: the config, manifest or store can't be used, or another driver is at work on the run.
        RunStopped: the run ended early and in order: `stop`, a deadline, too many failures, taken over. It
            carries the summary.
        ClusterLost: Ray died; what was done is kept.
        KeyboardInterrupt: passed on; all committed shards and logged steps are kept.
    """
    started, phases = time.monotonic(), Profile()
    watch, stop = progress or Progress(), stop or StopRequest()
    job.check()
    check_output(job.config.output.uri)
    with phases.phase("open"):
        prepared = _prepare(job)
    store, backend = prepared.store, _load_backend(job, prepared, stop)

    def lost(to: str) -> None:
        stop.ask(RunEnd.taken_over, f"another driver took the run over: {to}")

    with (
        watch_deadline(job.config, stop),
        lease(store, lost, watch.note, takeover),
        ExitStack() as stack,  # the backend starts when there is work for it, and at most once
    ):
        layout.note_call(store, prepared.spec)
        with phases.phase("plan"):
            found = _plan(job, prepared, backend, watch, stop, stack)
            todo, summary = _look(job.config, store, found)
            delete_state(store, keep={shard.index for shard in todo})
        watch.executing(summary)
        if todo and stop.end is None:
            with phases.phase("start"):
                _start(backend, job.config, stop, stack)
            with phases.phase("work"):
                session = secrets.token_hex(4)  # names this call of the driver; see runtime/attempts.py
                ledger = Ledger(store, session, summary)
                work = Assignment(job, store.uri, session, todo, watch.note, profile)
                _drive(backend, store, work, ledger, watch, stop, phases)
            # From the store: others may have committed shards, too.
            todo, now = _look(job.config, store, found)
            summary = replace(now, already=summary.already, workers=ledger.summary.workers)
            delete_state(store, keep={shard.index for shard in todo})
    summary = replace(summary, wall=time.monotonic() - started)
    if profile:
        phases.write(store)
    if todo and stop.end is not None:
        summary = replace(summary, ended=stop.end)
        counts = f"{summary.committed:,} of {summary.planned:,} records are committed"
        words = f"{stop.words}; nothing is lost: {counts}, and the same command goes on"
        raise RunStopped(stop.end, words, summary)
    return summary


def _drive(
    backend: Backend,
    store: Store,
    work: Assignment,
    ledger: Ledger,
    watch: Progress,
    stop: StopRequest,
    phases: Profile,
) -> None:
    if stop.end is not None:  # it was asked while the backend started
        return
    with backend.open_pool(work) as pool:
        pool.on_receipt = phases.add
        try:
            drive(work.job.config, pool, work.shards, ledger, watch, stop)
        except StoreError:
            store.hurry()  # it has been waited for
            raise
        finally:
            ledger.save()


def _look_up(stop: StopRequest, store: Store) -> None:
    """End a run without a plan, if it is to end. A deadline waits for the plan: the next call has it."""
    if stop.end is not None and stop.end is not RunEnd.deadline:
        summary = RunSummary(store.uri, store.name)
        raise RunStopped(stop.end, f"{stop.words}; nothing is lost, and the same command goes on", summary)


def plan(job: Job, progress: Progress | None = None, stop: StopRequest | None = None) -> RunSummary:
    """Plan the run, if it isn't planned, and say what it will do. No record is run.

    Args:
        job: what is to be done with each record.
        progress: told how many rows are read.
        stop: by this a signal handler can end it in order.

    Raises:
        UserError: the config, manifest or store can't be used.
        RunStopped: `stop` was asked.
        ClusterLost: Ray died.
    """
    started, stop = time.monotonic(), stop or StopRequest()
    prepared = _prepare(job)
    layout.note_call(prepared.store, prepared.spec)
    with stop.heeding():
        backend = make_backend(job.config.backend)
    with ExitStack() as stack:
        found = _plan(job, prepared, backend, progress or Progress(), stop, stack)
        summary = _look(job.config, prepared.store, found)[1]
    return replace(summary, wall=time.monotonic() - started)


def status(job: Job) -> RunSummary:
    """How far a run is, read from its directory.

    Raises:
        RunConflict: there is no such run.
    """
    store = open_existing(job)
    found, claim = read_plan(store), read_claim(store)
    summary = _look(job.config, store, found)[1] if found else RunSummary(store.uri, store.name)
    return replace(summary, driver=str(claim) if claim else "")


def clean(job: Job, progress: Progress | None = None, all_state: bool = False) -> Cleaned:
    """Delete what a run no longer needs: step state of committed shards, and what killed processes left.

    Args:
        job: names the run.
        progress: told what a wait is for.
        all_state: delete the step state of shards that are still to run, too. Their steps are made again.

    Raises:
        RunConflict: there is no such run, or a driver is at work on it.
    """
    store = open_existing(job)
    note = (progress or Progress()).note
    claim = read_claim(store)
    if claim is not None and is_alive(store, claim, note):
        raise RunConflict(f"{store.uri}: a driver is at work on this run: {claim}; stop it first")
    found = read_plan(store)
    todo = [] if found is None or all_state else _find_todo(found, find_committed_shards(store))
    return delete_state(store, keep={shard.index for shard in todo}) + delete_leftovers(store, found)


def verify(job: Job) -> Verdict:
    """Check a run against its plan: every record once, every row as the job says it must be.

    Raises:
        RunConflict: there is no such run.
    """
    return verify_run(open_existing(job), job.result_schema, job.check_row)


def open_existing(job: Job) -> Store:
    """The run's directory, which must be there.

    Raises:
        RunConflict: there is no such run, or it is of another job.
    """
    if job.config.run_id:  # then it needs no look at what it reads
        spec = make_spec(job, [], "")
    else:
        source = job.find_source()
        spec = make_spec(job, source.files, source.location)
    store = open_store(spec.uri, job.config.storage, make=False)
    standing = layout.job_of(layout.read_run(store))
    if standing != job.config.job:
        raise RunConflict(f"{store.uri}: is a run of the job {standing}, not of {job.config.job}")
    return store


def make_spec(job: Job, files: Sequence[tuple[str, str]], source: str) -> RunSpec:
    """What a run of this job over these files is.

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
class _Prepared:
    """A run whose directory is open."""

    spec: RunSpec
    source: Source
    splits: Sequence[Any]
    """Of what is to be planned; empty where there is a plan."""
    store: Store


def _prepare(job: Job) -> _Prepared:
    """Open the run's directory, and as long as it isn't planned cut its source into splits.

    Cut before the directory is made: a manifest that can't be used leaves none behind.
    """
    source = job.find_source()
    spec = make_spec(job, source.files, source.location)
    splits = [] if layout.is_planned(spec) else source.split()
    return _Prepared(spec, source, splits, layout.open_run(spec))


def _plan(
    job: Job, run: _Prepared, backend: Backend, watch: Progress, stop: StopRequest, stack: ExitStack
) -> Plan:
    """The run's plan, made now where there is none."""
    found = read_plan(run.store)
    if found is None:
        check_create_only(run.store)
        if needs_backend(run.source, run.splits):
            _start(backend, job.config, stop, stack)
            scanned = backend.scan(job, run.splits, partial(_look_up, stop, run.store))
        else:
            scanned = (table for split in run.splits for table in scan_split(job, split))
        found = make_plan(job, run.spec, scanned, run.store, watch.planning)
    return found


def _load_backend(job: Job, run: _Prepared, stop: StopRequest) -> Backend:
    """The job's backend; it takes seconds to import, in which an exception might be lost."""
    with stop.heeding():
        backend = make_backend(job.config.backend)
    _look_up(stop, run.store)
    return backend


def _start(backend: Backend, config: JobConfig, stop: StopRequest, stack: ExitStack) -> None:
    """Start the backend, if it hasn't started; from then on until it has ended, `stop` is heeded."""
    stack.enter_context(stop.heeding())
    stack.enter_context(backend.start(config.workers))


def _look(config: JobConfig, store: Store, plan: Plan) -> tuple[list[Shard], RunSummary]:
    """The shards still to run, and how the run stands."""
    done = find_committed_shards(store)
    todo = _find_todo(plan, done)
    summary = RunSummary(
        run=store.uri,
        run_id=store.name,
        planned=plan.records,
        rejected=plan.rejected,
        skipped=plan.skipped,
        shards=len(plan.sizes),
        gpu_hour=config.prices.gpu_hour,
    )
    committed = plan.records - sum(shard.records for shard in todo)
    summary = summary.plus(sum_receipts(store, done), committed)
    return todo, replace(summary, already=committed)


def _find_todo(plan: Plan, done: Collection[int]) -> list[Shard]:
    return [shard for shard in plan.shards() if shard.index not in done]
