"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import Progress, Pulse, RunSummary
from mira_batch.distributed.check import check_models, check_output
from mira_batch.distributed.cluster import ray_session
from mira_batch.distributed.execute import execute
from mira_batch.distributed.plan import make_plan
from mira_batch.storage import rundir
from mira_batch.storage.manifest import list_files
from mira_batch.storage.objects import Store, check_create_only, open_store
from mira_batch.storage.planfile import Plan, Shard, read_plan


class Silent:
    """Watches nothing."""

    def planning(self, rows: int) -> None: ...
    def executing(self, summary: RunSummary) -> None: ...
    def beat(self, pulses: list[Pulse]) -> None: ...
    def committed(self, summary: RunSummary) -> None: ...


def run(config: BulkEditConfig, progress: Progress | None = None) -> RunSummary:
    """Run the job to its end, going on from wherever an earlier call stopped.

    Raises:
        UserError: the config, manifest or store can't be used.
        RunStopped: too many records failed (`limits.max_failed_fraction`).
        KeyboardInterrupt: passed on; all committed shards and logged steps are kept.
    """
    started = time.monotonic()
    watch = progress or Silent()
    check_models(config)
    check_output(config)
    with ExitStack() as stack:  # the backend starts when there is work for it, and at most once
        store, found = _planned(config, watch, stack)
        todo, summary = _so_far(store, found)
        _sweep(store, {shard.index for shard in todo})
        watch.executing(summary)
        if todo:
            _start_backend(config, stack)
        sizes = {shard.index: shard.records for shard in todo}
        for receipt in execute(config, store.uri, todo, watch.beat):
            summary = summary.plus(receipt, sizes[receipt.shard])
            watch.committed(summary)
            _check_failures(config, summary)
    return replace(summary, wall=time.monotonic() - started)


def plan(config: BulkEditConfig, progress: Progress | None = None) -> RunSummary:
    """Plan the run, if it isn't planned, and say what it will do. Nothing is edited."""
    started = time.monotonic()
    with ExitStack() as stack:
        summary = _so_far(*_planned(config, progress or Silent(), stack))[1]
    return replace(summary, wall=time.monotonic() - started)


def status(config: BulkEditConfig) -> RunSummary:
    """How far a run is, read from its directory.

    Raises:
        RunConflict: there is no such run.
    """
    store = open_existing(config)
    found = read_plan(store)
    return _so_far(store, found)[1] if found else RunSummary(store.uri, store.name)


def open_existing(config: BulkEditConfig) -> Store:
    """The run's directory, which must be there.

    Raises:
        RunConflict: there is no such run.
    """
    files = [] if config.run_id else list_files(config.input, config.storage)
    store = open_store(f"{config.output.uri}/{rundir.run_id_for(config, files)}", config.storage, make=False)
    rundir.read_run(store)
    return store


def _planned(config: BulkEditConfig, watch: Progress, stack: ExitStack) -> tuple[Store, Plan]:
    """The run's directory and its plan, made now where there is none."""
    files = list_files(config.input, config.storage)
    store = rundir.open_run(config, files)
    found = read_plan(store)
    if found is None:
        check_create_only(store)
        _start_backend(config, stack)
        found = make_plan(config, files, store, watch.planning)
    return store, found


def _check_failures(config: BulkEditConfig, summary: RunSummary) -> None:
    ended, limits = summary.ok + summary.failed, config.limits
    if ended >= limits.min_records and summary.failed > limits.max_failed_fraction * ended:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(summary.errors.items()))
        raise RunStopped(
            f"{summary.failed:,} of {ended:,} records failed ({kinds}), more than limits.max_failed_fraction "
            f"({limits.max_failed_fraction:g}) allows. What is done is kept in {summary.results}; mend the "
            "cause, or raise the limit, and run the same command to go on"
        )


def _start_backend(config: BulkEditConfig, stack: ExitStack) -> None:
    if config.backend == "ray":
        stack.enter_context(ray_session(config.workers))


def _so_far(store: Store, plan: Plan) -> tuple[list[Shard], RunSummary]:
    """The shards still to run, and the summary before anything more is done."""
    done = committed_shards(store)
    todo = [shard for shard in plan.shards() if shard.index not in done]
    committed = plan.records - sum(shard.records for shard in todo)
    return todo, RunSummary(
        run=store.uri,
        run_id=store.name,
        planned=plan.records,
        committed=committed,
        already=committed,
        rejected=plan.rejected,
        skipped=plan.skipped,
        shards=len(plan.sizes),
    )


def _sweep(store: Store, open_shards: set[int]) -> None:
    """Delete the step state of committed shards whose worker died between commit and clean-up."""
    for name in store.children("state"):
        if name.isdigit() and int(name) not in open_shards:
            store.delete(entry.key for entry in store.list(f"state/{name}"))


def committed_shards(store: Store) -> set[int]:
    """Shards whose result file exists: one LIST."""
    found = (rundir.shard_of(entry.key) for entry in store.list("results"))
    return {shard for shard in found if shard is not None}
