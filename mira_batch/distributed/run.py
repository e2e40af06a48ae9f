"""A whole run: plan what is not planned, run what is not committed, and say what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.receipts import Progress, Pulse, RunSummary
from mira_batch.distributed.cluster import ray_session
from mira_batch.distributed.execute import execute
from mira_batch.distributed.plan import make_plan
from mira_batch.storage import rundir
from mira_batch.storage.manifest import list_files
from mira_batch.storage.objects import Store, check_create_only, open_store
from mira_batch.storage.planfile import Plan, read_plan


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
        KeyboardInterrupt: passed on; all committed shards and logged steps are kept.
    """
    started = time.monotonic()
    watch = progress or Silent()
    with _planned(config, watch) as (store, plan):
        summary = _execute(config, store, plan, watch)
    return replace(summary, wall=time.monotonic() - started)


def plan(config: BulkEditConfig, progress: Progress | None = None) -> RunSummary:
    """Plan the run, if it isn't planned, and say what it will do. Nothing is edited."""
    started = time.monotonic()
    with _planned(config, progress or Silent()) as (store, found):
        summary = _so_far(store, found)
    return replace(summary, wall=time.monotonic() - started)


def status(config: BulkEditConfig) -> RunSummary:
    """How far a run is, read from its directory.

    Raises:
        RunConflict: there is no such run.
    """
    store = open_existing(config)
    found = read_plan(store)
    return _so_far(store, found) if found else RunSummary(store.uri, store.name)


def open_existing(config: BulkEditConfig) -> Store:
    """The run's directory, which must be there.

    Raises:
        RunConflict: there is no such run.
    """
    files = [] if config.run_id else list_files(config.input, config.storage)
    store = open_store(f"{config.output.uri}/{rundir.run_id_for(config, files)}", config.storage, make=False)
    rundir.read_run(store)
    return store


@contextmanager
def _planned(config: BulkEditConfig, watch: Progress) -> Iterator[tuple[Store, Plan]]:
    """The run's store and its plan, made now where there is none, with the backend running."""
    files = list_files(config.input, config.storage)
    store = rundir.open_run(config, files)
    with _session(config):
        found = read_plan(store)
        if found is None:
            check_create_only(store)
            found = make_plan(config, files, store, watch.planning)
        yield store, found


def _session(config: BulkEditConfig) -> AbstractContextManager[None]:
    return ray_session(config.workers) if config.backend == "ray" else nullcontext()


def _execute(config: BulkEditConfig, store: Store, plan: Plan, watch: Progress) -> RunSummary:
    done = committed_shards(store)
    todo = [shard for shard in plan.shards() if shard.index not in done]
    summary = _so_far(store, plan, done)
    watch.executing(summary)
    sizes = {shard.index: shard.records for shard in todo}
    for receipt in execute(config, store.uri, todo, watch.beat):
        summary = summary.plus(receipt, sizes[receipt.shard])
        watch.committed(summary)
    return summary


def _so_far(store: Store, plan: Plan, done: set[int] | None = None) -> RunSummary:
    """The summary of a run before anything more is done."""
    done = committed_shards(store) if done is None else done
    committed = sum(shard.records for shard in plan.shards() if shard.index in done)
    return RunSummary(
        run=store.uri,
        run_id=store.name,
        planned=plan.records,
        committed=committed,
        already=committed,
        rejected=plan.rejected,
        skipped=plan.skipped,
        shards=len(plan.sizes),
    )


def committed_shards(store: Store) -> set[int]:
    """Shards whose result file exists: one LIST."""
    found = (rundir.shard_of(entry.key) for entry in store.list("results"))
    return {shard for shard in found if shard is not None}
