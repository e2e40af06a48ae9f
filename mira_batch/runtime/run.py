"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from mira_batch.core.errors import RunConflict, RunStopped, StoreError, job_boundary
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.backends import Backend, make_backend
from mira_batch.runtime.busy import IfRunning, find_busy
from mira_batch.runtime.drive import check_cost, drive, watch_deadline
from mira_batch.runtime.estimate import estimate
from mira_batch.runtime.job import Job
from mira_batch.runtime.known import look_at, peek_catalogue, read_catalogue
from mira_batch.runtime.lease import lease, read_claim
from mira_batch.runtime.ledger import Ledger
from mira_batch.runtime.live import LiveWriter, Watchers
from mira_batch.runtime.plan import Comparison
from mira_batch.runtime.pool import Assignment
from mira_batch.runtime.preflight import check_output
from mira_batch.runtime.prepare import (
    Surroundings,
    begin,
    find_shown,
    leave_to,
    look,
    open_existing,
    prepare,
)
from mira_batch.runtime.reader import Reader, check_end, load_backend, start_backend
from mira_batch.runtime.summary import describe_plan, find_todo, look_at_run
from mira_batch.runtime.trace import Profile
from mira_batch.storage.run import layout
from mira_batch.storage.run.calls import note_call
from mira_batch.storage.run.clean import Cleaned, delete_leftovers, delete_state
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, Shard, find_plan, read_plan, read_rejects
from mira_batch.storage.run.verify import Verdict
from mira_batch.storage.run.verify import verify as verify_run
from mira_batch.storage.schema import REJECTS
from mira_batch.storage.stores import Store


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
            plan is not the one that was approved; or result files have vanished meanwhile.
        RunStopped: the run ended early and in order: `stop`, a deadline, too many failures, taken over. It
            carries the summary.
        ClusterLost: Ray died; what was done is kept.
        KeyboardInterrupt: passed on; all committed shards and logged steps are kept.
    """
    started, phases = time.monotonic(), Profile()
    watch, stop = progress or Progress(), stop or StopRequest()
    with job_boundary(f"job {job.config.job}: check"):
        job.check()
    check_output(job.config.output.uri)
    with phases.phase("open"):
        prepared = prepare(job)
    backend = load_backend(job, prepared, stop)
    with watch_deadline(job.config, stop), ExitStack() as stack:
        call = _Call(job, backend, watch, stop, stack, phases)
        with phases.phase("plan"):
            reader = Reader(job, prepared, backend, stop, stack)
            hold = partial(call.hold, takeover=takeover)
            around = Surroundings(reader, watch, partial(check_end, stop, prepared.spec), hold)
            begun = begin(job, prepared, around, approved, if_running)
            if isinstance(begun, str):
                return RunSummary("", "", busy=begun, wall=time.monotonic() - started)
            if isinstance(begun, Comparison):
                return replace(describe_plan(job.config, begun), wall=time.monotonic() - started)
            store, found = begun
            todo, summary = look_at_run(job.config, store, found)
            delete_state(store, keep={shard.index for shard in todo})
        watch.executing(summary)
        if todo:  # no model is loaded for a run that has cost all that it may
            check_cost(summary, job.config.limits, stop)
        if todo and stop.end is None:
            todo, summary = call.work(store, found, todo, summary, profile)
        with phases.phase("fold"):
            read_catalogue(job, prepared.spec, watch)
    summary = replace(summary, wall=time.monotonic() - started)
    if profile:
        phases.write(store)
    if todo:
        raise _explain_left(len(todo), summary, stop)
    return summary


def _explain_left(shards: int, summary: RunSummary, stop: StopRequest) -> StoreError | RunStopped:
    """Why so many shards are left at the end of a call."""
    counts = f"{summary.committed:,} of {summary.planned:,} records are committed"
    if stop.end is None:  # each of them was committed
        files = "1 result file" if shards == 1 else f"{shards:,} result files"
        return StoreError(
            f"{summary.run}: {files} of it can't be seen any more, {counts}; look at what deletes files "
            "there, or at a network disk that shows them late, and run the same command again"
        )
    onward = "a higher limit" if stop.end is RunEnd.max_cost else "the same command"
    words = f"{stop.words}; nothing is lost: {counts}, and {onward} goes on"
    return RunStopped(stop.end, words, replace(summary, ended=stop.end))


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the driver."""

    job: Job
    backend: Backend
    watch: Progress
    stop: StopRequest
    stack: ExitStack
    """Holds the run; and the backend, from when there is work for it."""
    phases: Profile

    def hold(self, spec: RunSpec, takeover: bool) -> Store:
        """Open a run's directory, in which nobody else works from then on."""

        def lost(to: str) -> None:
            self.stop.ask(RunEnd.taken_over, f"another driver took the run over: {to}")

        store = layout.open_run(spec)
        self.stack.enter_context(lease(store, lost, self.watch.note, takeover))
        note_call(store, spec)
        return store

    def work(
        self, store: Store, plan: Plan, todo: Sequence[Shard], summary: RunSummary, profile: bool
    ) -> tuple[list[Shard], RunSummary]:
        """Run shards to the end of the plan or of the call; which are left then, and how the run stands."""
        with self.phases.phase("start"):
            start_backend(self.backend, self.job.config, self.stop, self.stack)
        live = self.stack.enter_context(LiveWriter(store))
        figures = Watchers(live, self.backend.make_metrics(store.name))
        figures.executing(summary)
        with self.phases.phase("work"):
            session = secrets.token_hex(4)  # names this call of the driver; see runtime/attempts.py
            ledger = Ledger(store, session, summary)
            if self.stop.end is None:  # it may have been asked while the backend started
                assignment = Assignment(self.job, store.uri, session, todo, self.watch.note, profile)
                self._drive(store, assignment, ledger, Watchers(self.watch, figures))
        # From the store: others may have committed shards, too.
        left, now = look_at_run(self.job.config, store, plan)
        delete_state(store, keep={shard.index for shard in left})
        return left, replace(now, already=summary.already, workers=ledger.summary.workers)

    def _drive(self, store: Store, work: Assignment, ledger: Ledger, watch: Progress) -> None:
        with self.backend.open_pool(work) as pool:
            pool.on_receipt = self.phases.add
            try:
                drive(self.job.config, pool, work.shards, ledger, watch, self.stop)
            except StoreError:
                store.hurry()  # it has been waited for
                raise
            finally:
                ledger.save()


def plan(
    job: Job,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    assumed: Mapping[str, float] | None = None,
    on_rejects: Callable[[pa.Table], None] | None = None,
) -> RunSummary:
    """Say what a run would do, and why. None is begun, and nothing is written.

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
        summary = look_at_run(job.config, *prepared.standing)[1]
        left = summary.planned - summary.committed
        with peek_catalogue(job, prepared.spec, watch) as known:
            expected = estimate(job.config, prepared.spec, left, known, assumed or {})
        if on_rejects is not None:
            on_rejects(pa.Table.from_pylist(read_rejects(prepared.standing[0]), REJECTS))
        return replace(summary, estimate=expected, wall=time.monotonic() - started)
    with stop.heeding():
        backend = make_backend(job.config.backend)
    with ExitStack() as stack:
        reader = Reader(job, prepared, backend, stop, stack)
        around = Surroundings(reader, watch, partial(check_end, stop, prepared.spec), _refuse)
        works = leave_to(find_busy(look_at(prepared.spec), prepared.spec.name, watch.note), watch)
        known = stack.enter_context(peek_catalogue(job, prepared.spec, watch, prepared.gone > 0))
        with look(job, prepared, around, works, known) as found:
            summary = describe_plan(job.config, found, begins=find_shown(job, prepared, found) is None)
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
        StoreError: its plan is lost.
    """
    store = open_existing(job)
    found, claim = find_plan(store), read_claim(store)
    summary = look_at_run(job.config, store, found)[1] if found else RunSummary(store.uri, store.name)
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
    left = store.get(layout.LEASE)  # of a dead driver, if this goes on

    def ignore(_: str) -> None:
        """Who takes the run over goes on with what is left then."""

    with ExitStack() as stack:
        try:
            stack.enter_context(lease(store, ignore, note))
        except RunConflict:
            claim = read_claim(store) or "it has just ended"
            raise RunConflict(
                f"{store.uri}: a driver is at work on this run: {claim}; stop it first"
            ) from None
        found = read_plan(store)
        todo = [] if found is None or all_state else find_todo(found, find_committed_shards(store))
        cleaned = delete_state(store, keep={shard.index for shard in todo}) + delete_leftovers(store, found)
    return cleaned if left is None else cleaned + Cleaned(1, len(left))


def verify(job: Job) -> Verdict:
    """Check a run against its plan: every record once, every row as the job says it must be.

    Raises:
        RunConflict: there is no such run.
    """
    return verify_run(open_existing(job), job.result_schema, job.check_row)
