"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunConflict, RunStopped, StoreError
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.backends import Backend, make_backend
from mira_batch.runtime.busy import IfRunning, find_busy
from mira_batch.runtime.drive import drive, watch_deadline
from mira_batch.runtime.estimate import estimate
from mira_batch.runtime.job import Job
from mira_batch.runtime.lease import is_alive, lease, read_claim
from mira_batch.runtime.ledger import Ledger, sum_receipts
from mira_batch.runtime.live import LiveWriter, Watchers
from mira_batch.runtime.plan import (
    PIXELS,
    Comparison,
    ReadPart,
    digest_pixels,
    needs_backend,
    scan_split,
)
from mira_batch.runtime.pool import Assignment
from mira_batch.runtime.preflight import check_output
from mira_batch.runtime.prepare import (
    Prepared,
    Surroundings,
    begin,
    find_shown,
    look,
    open_catalogue_of,
    open_existing,
    prepare,
    read_catalogue,
)
from mira_batch.runtime.trace import Profile
from mira_batch.storage.catalogue.join import Cause
from mira_batch.storage.run import layout
from mira_batch.storage.run.clean import Cleaned, delete_leftovers, delete_state
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, Shard, count_shards, read_plan, read_rejects
from mira_batch.storage.run.verify import Verdict
from mira_batch.storage.run.verify import verify as verify_run
from mira_batch.storage.schema import REJECTS, scan_schema
from mira_batch.storage.stores import Store

_WAITING = {Cause.failed.name: "failed_waiting", Cause.unfinished.name: "unfinished_waiting"}
"""Causes for which records would be run, but that begin no run of their own."""


def run(
    job: Job,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    takeover: bool = False,
    profile: bool = False,
    approved: str = "",
    if_running: IfRunning = IfRunning.share,
) -> RunSummary:
    """Run the job to its end, going on from wherever an earlier call stopped.

    Where nothing has changed since a run like this one came to its end, the summary is that run's; where
    there never was one and nothing is to be done, it names no run. Nor does it where another run is at work
    on the catalogue, and `if_running` is `skip`.

    Args:
        job: what to do with each record.
        progress: told what happens while it does.
        stop: by this another thread or a signal handler can end the run in order.
        takeover: take the run over from a driver that is at work on it; that one ends in order.
        profile: write where the time went to `<run>/profile.json`.
        approved: digest of the only plan that may be run, as `plan` gave it; empty: any.
        if_running: what to do where another run is at work on the same catalogue.

    Raises:
        UserError: the config, manifest or store can't be used, another driver is at work on the run, or its
            plan is not the one that was approved.
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
        prepared = prepare(job)
    backend = _load_backend(job, prepared, stop)

    with (
        watch_deadline(job.config, stop),
        ExitStack() as stack,  # holds the run; and the backend, from when there is work for it
    ):

        def hold(spec: RunSpec) -> Store:
            store = layout.open_run(spec)
            stack.enter_context(lease(store, lost, watch.note, takeover))
            layout.note_call(store, spec)
            return store

        def lost(to: str) -> None:
            stop.ask(RunEnd.taken_over, f"another driver took the run over: {to}")

        with phases.phase("plan"):
            reader = _Reader(job, prepared, backend, stop, stack)
            around = Surroundings(reader, watch, partial(_look_up, stop, prepared.spec), hold)
            begun = begin(job, prepared, around, approved, if_running)
            if isinstance(begun, str):
                return RunSummary("", "", busy=begun, wall=time.monotonic() - started)
            if isinstance(begun, Comparison):
                return replace(_describe(job.config, begun), wall=time.monotonic() - started)
            store, found = begun
            todo, summary = _look(job.config, store, found)
            delete_state(store, keep={shard.index for shard in todo})
        watch.executing(summary)
        if todo and stop.end is None:
            with phases.phase("start"):
                _start(backend, job.config, stop, stack)
            live = stack.enter_context(LiveWriter(store))
            figures = Watchers(live, backend.make_metrics(store.name))
            figures.executing(summary)
            watch = Watchers(watch, figures)
            with phases.phase("work"):
                session = secrets.token_hex(4)  # names this call of the driver; see runtime/attempts.py
                ledger = Ledger(store, session, summary)
                work = Assignment(job, store.uri, session, todo, watch.note, profile)
                _drive(backend, store, work, ledger, watch, stop, phases)
            # From the store: others may have committed shards, too.
            todo, now = _look(job.config, store, found)
            summary = replace(now, already=summary.already, workers=ledger.summary.workers)
            delete_state(store, keep={shard.index for shard in todo})
        with phases.phase("fold"):
            read_catalogue(job, prepared.spec, watch)
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


def _look_up(stop: StopRequest, spec: RunSpec) -> None:
    """End a run without a plan, if it is to end. A deadline waits for the plan: the next call has it."""
    if stop.end is not None and stop.end is not RunEnd.deadline:
        summary = RunSummary(spec.uri, spec.name)
        raise RunStopped(stop.end, f"{stop.words}; nothing is lost, and the same command goes on", summary)


def plan(
    job: Job,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    assumed: Mapping[str, float] | None = None,
    on_rejects: Callable[[pa.Table], None] | None = None,
) -> RunSummary:
    """Say what a run would do, and why. None is begun, and nothing of one is written.

    Args:
        job: what is to be done with each record.
        progress: told how many rows are read.
        stop: by this a signal handler can end it in order.
        assumed: figures for the estimate, as `estimate` takes them.
        on_rejects: given the rows that can't be used (schema `REJECTS`), in parts.

    Raises:
        UserError: the config, manifest or store can't be used.
        RunStopped: `stop` was asked.
        ClusterLost: Ray died.
    """
    started, watch, stop = time.monotonic(), progress or Progress(), stop or StopRequest()
    prepared = prepare(job)
    if not prepared.splits:
        assert prepared.standing is not None
        summary = _look(job.config, *prepared.standing)[1]
        known, left = read_catalogue(job, prepared.spec, watch), summary.planned - summary.committed
        expected = estimate(job.config, prepared.spec, left, known, assumed or {})
        if on_rejects is not None:
            on_rejects(pa.Table.from_pylist(read_rejects(prepared.standing[0]), REJECTS))
        return replace(summary, estimate=expected, wall=time.monotonic() - started)
    with stop.heeding():
        backend = make_backend(job.config.backend)
    with ExitStack() as stack:
        reader = _Reader(job, prepared, backend, stop, stack)
        around = Surroundings(reader, watch, partial(_look_up, stop, prepared.spec), _refuse)
        others = find_busy(open_catalogue_of(prepared.spec), prepared.spec.name, watch.note)
        with look(job, prepared, around, others) as (known, found):
            summary = _describe(job.config, found, begins=find_shown(job, prepared, found) is None)
            expected = estimate(job.config, prepared.spec, summary.planned, known, assumed or {})
            summary = replace(summary, estimate=expected)
            if on_rejects is not None:
                for rejects in found.find_rejects():
                    on_rejects(rejects)
    return replace(summary, wall=time.monotonic() - started)


def _refuse(spec: RunSpec) -> Store:
    raise AssertionError(f"{spec.name}: a look at a plan holds no run")


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


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what is to be planned: here, or on the backend if it is much."""

    job: Job
    run: Prepared
    backend: Backend
    stop: StopRequest
    stack: ExitStack

    def scan(self) -> Iterable[pa.Table]:
        """The rows of all splits, in order."""
        few = not needs_backend(self.run.source, self.run.splits)
        return self._read(self.run.splits, scan_split, scan_schema(self.job.plan_schema), few)

    def read_pixels(self, parts: Sequence[pa.Table]) -> Iterable[pa.Table]:
        """`digest_pixels` of each part."""
        return self._read(parts, digest_pixels, PIXELS, len(parts) < 2)

    def _read(self, parts: Sequence[Any], read: ReadPart, fields: pa.Schema, few: bool) -> Iterable[pa.Table]:
        if few:
            return (table for part in parts for table in read(self.job, part))
        _start(self.backend, self.job.config, self.stop, self.stack)
        return self.backend.read(self.job, parts, read, fields, partial(_look_up, self.stop, self.run.spec))


def _load_backend(job: Job, run: Prepared, stop: StopRequest) -> Backend:
    """The job's backend; it takes seconds to import, in which an exception might be lost."""
    with stop.heeding():
        backend = make_backend(job.config.backend)
    _look_up(stop, run.spec)
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
        plan=plan.digest,
        causes=plan.causes,
        gpu_hour=config.prices.gpu_hour,
    )
    committed = plan.records - sum(shard.records for shard in todo)
    summary = summary.plus(sum_receipts(store, done), committed)
    return todo, replace(summary, already=committed)


def _describe(config: JobConfig, found: Comparison, begins: bool = True) -> RunSummary:
    """What a run would do that isn't begun.

    Args:
        config: the job's.
        found: what was found.
        begins: whether it would begin at all. Records that failed are no reason to, and then wait.
    """
    workers, why = config.workers, found.left_out.causes
    if not begins:
        why = {_WAITING.get(name, name): cause for name, cause in why.items()}
    records = found.count() if begins else 0
    unusable = (Cause.rejected.name, Cause.duplicate.name)
    return RunSummary(
        run="",
        run_id="",
        planned=records,
        rejected=sum(why[name].records for name in unusable if name in why),
        skipped=found.left_out.records,
        shards=count_shards(records, workers.shard_size, workers.most),
        plan=found.left_out.digest,
        causes=why,
        gpu_hour=config.prices.gpu_hour,
    )


def _find_todo(plan: Plan, done: Collection[int]) -> list[Shard]:
    return [shard for shard in plan.shards() if shard.index not in done]
