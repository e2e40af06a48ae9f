"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Timer

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RunConflict, RunStopped
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.edit.preflight import check_models, check_output
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.runtime.backends.ray import on_ray
from mira_batch.runtime.drive import drive
from mira_batch.runtime.lease import is_alive, lease, read_claim
from mira_batch.runtime.ledger import Ledger, total
from mira_batch.runtime.plan import make_plan, needs_ray
from mira_batch.runtime.pool import Pool, in_process
from mira_batch.runtime.trace import Profile
from mira_batch.storage.manifest import Split, list_files, split_manifest
from mira_batch.storage.run import layout
from mira_batch.storage.run.clean import Cleaned, delete_leftovers, delete_state
from mira_batch.storage.run.planfile import Plan, Shard, read_plan
from mira_batch.storage.stores import Store, check_create_only, open_store


def run(
    config: BulkEditConfig,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    takeover: bool = False,
    profile: bool = False,
) -> RunSummary:
    """Run the job to its end, going on from wherever an earlier call stopped.

    Args:
        config: the job.
        progress: told what happens while it does.
        stop: by this another thread or a signal handler can end the run in order.
        takeover: take the run over from a driver that is at work on it; that one ends in order.
        profile: write where the time went to `<run>/profile.json`.

    Raises:
        UserError: the config, manifest or store can't be used, or another driver is at work on the run.
        RunStopped: the run ended early and in order: `stop`, a deadline, too many failures, taken over. It
            carries the summary.
        KeyboardInterrupt: passed on; all committed shards and logged steps are kept.
    """
    started, phases = time.monotonic(), Profile()
    watch, stop = progress or Progress(), stop or StopRequest()
    check_models(config)
    check_output(config)
    with phases.phase("open"):
        store, pieces = _opened(config)

    def lost(to: str) -> None:
        stop.ask(RunEnd.taken_over, f"another driver took the run over: {to}")

    with (
        _deadline(config, stop),
        lease(store, lost, watch.note, takeover),
        ExitStack() as stack,  # the backend starts when there is work for it, and at most once
    ):
        with phases.phase("plan"):
            found = _planned(config, store, pieces, watch, stack)
            todo, summary = _so_far(config, store, found)
            delete_state(store, keep={shard.index for shard in todo})
        watch.executing(summary)
        if todo and stop.end is None:
            with phases.phase("start"):
                _start_backend(config, stack)
            with phases.phase("work"):
                backend = on_ray if config.backend == "ray" else in_process
                session = secrets.token_hex(4)  # names this call of the driver; see runtime/attempts.py
                ledger = Ledger(store, session, summary)
                with backend(config, store.uri, session, todo, profile) as pool:
                    pool.on_receipt = phases.add
                    _drive(config, pool, todo, ledger, watch, stop)
            todo, now = _so_far(config, store, found)  # from the store: others may have committed shards, too
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
    config: BulkEditConfig, pool: Pool, todo: list[Shard], ledger: Ledger, watch: Progress, stop: StopRequest
) -> None:
    stop.heeded = True
    try:
        drive(config, pool, todo, ledger, watch, stop)
    finally:
        stop.heeded = False
        ledger.save()


@contextmanager
def _deadline(config: BulkEditConfig, stop: StopRequest) -> Iterator[None]:
    """Ask for the run's end when `limits.deadline` comes."""
    seconds = config.limits.seconds_left(datetime.now(UTC))
    if seconds is None:
        yield
        return
    words = f"limits.deadline ({config.limits.deadline}) is reached"
    timer = Timer(max(0.0, seconds), stop.ask, (RunEnd.deadline, words))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def plan(config: BulkEditConfig, progress: Progress | None = None) -> RunSummary:
    """Plan the run, if it isn't planned, and say what it will do. Nothing is edited."""
    started = time.monotonic()
    store, pieces = _opened(config)
    with ExitStack() as stack:
        summary = _so_far(config, store, _planned(config, store, pieces, progress or Progress(), stack))[1]
    return replace(summary, wall=time.monotonic() - started)


def status(config: BulkEditConfig) -> RunSummary:
    """How far a run is, read from its directory.

    Raises:
        RunConflict: there is no such run.
    """
    store = open_existing(config)
    found, claim = read_plan(store), read_claim(store)
    summary = _so_far(config, store, found)[1] if found else RunSummary(store.uri, store.name)
    return replace(summary, driver=str(claim) if claim else "")


def clean(config: BulkEditConfig, progress: Progress | None = None, all_state: bool = False) -> Cleaned:
    """Delete what a run no longer needs: step state of committed shards, and what killed processes left.

    Args:
        config: names the run.
        progress: told what a wait is for.
        all_state: delete the step state of shards that are still to run, too. Their steps are made again.

    Raises:
        RunConflict: there is no such run, or a driver is at work on it.
    """
    store = open_existing(config)
    note = (progress or Progress()).note
    claim = read_claim(store)
    if claim is not None and is_alive(store, claim, note):
        raise RunConflict(f"{store.uri}: a driver is at work on this run: {claim}; stop it first")
    found = read_plan(store)
    todo = [] if found is None or all_state else _todo(found, committed_shards(store))
    return delete_state(store, keep={shard.index for shard in todo}) + delete_leftovers(store, found)


def open_existing(config: BulkEditConfig) -> Store:
    """The run's directory, which must be there.

    Raises:
        RunConflict: there is no such run.
    """
    files = [] if config.run_id else list_files(config.input, config.storage)
    store = open_store(f"{config.output.uri}/{layout.run_id_for(config, files)}", config.storage, make=False)
    layout.read_run(store)
    return store


def _opened(config: BulkEditConfig) -> tuple[Store, list[Split]]:
    """The run's directory, and as long as it isn't planned its manifest in pieces.

    Cut before the directory is made: a manifest that can't be used leaves none behind.
    """
    files = list_files(config.input, config.storage)
    pieces = [] if layout.is_planned(config, files) else split_manifest(files, config.input, config.storage)
    return layout.open_run(config, files), pieces


def _planned(
    config: BulkEditConfig, store: Store, pieces: list[Split], watch: Progress, stack: ExitStack
) -> Plan:
    """The run's plan, made now where there is none."""
    found = read_plan(store)
    if found is None:
        check_create_only(store)
        if needs_ray(config, pieces):
            _start_backend(config, stack)
        found = make_plan(config, pieces, store, watch.planning)
    return found


def _start_backend(config: BulkEditConfig, stack: ExitStack) -> None:
    if config.backend == "ray":
        stack.enter_context(ray_session(config.workers))


def _so_far(config: BulkEditConfig, store: Store, plan: Plan) -> tuple[list[Shard], RunSummary]:
    """The shards still to run, and the summary before anything more is done."""
    done = committed_shards(store)
    todo = _todo(plan, done)
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
    summary = summary.plus(total(store, done), committed)
    return todo, replace(summary, already=committed)


def _todo(plan: Plan, done: set[int]) -> list[Shard]:
    return [shard for shard in plan.shards() if shard.index not in done]


def committed_shards(store: Store) -> set[int]:
    """Shards whose result file exists: one LIST."""
    found = (layout.shard_of(entry.key) for entry in store.list("results"))
    return {shard for shard in found if shard is not None}
