"""How a run stands, and what one would do that is not begun."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mira_batch.config.shared import JobConfig
from mira_batch.core.receipts import RunSummary
from mira_batch.runtime.ledger import sum_receipts
from mira_batch.runtime.plan import Comparison
from mira_batch.storage.catalogue.join import Cause
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.planfile import Plan, Shard
from mira_batch.storage.run.planwriter import count_shards
from mira_batch.storage.stores import Store

_WAITING = {Cause.failed.name: "failed_waiting", Cause.unfinished.name: "unfinished_waiting"}
"""Causes for which records would be run, but that begin no run of their own."""


def look_at_run(config: JobConfig, store: Store, plan: Plan) -> tuple[list[Shard], RunSummary]:
    """The shards still to run, and how the run stands.

    Args:
        config: the job's.
        store: the run's directory.
        plan: the run's.

    Raises:
        StoreError: the store can't be used.
    """
    done = find_committed_shards(store)
    todo = find_todo(plan, done)
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


def describe_plan(config: JobConfig, found: Comparison, begins: bool = True) -> RunSummary:
    """What a run would do that isn't begun.

    Args:
        config: the job's.
        found: what was found.
        begins: whether it would begin at all. Records that failed are no reason to, and then wait.
    """
    workers, why = config.workers, found.left_out.causes
    if not begins:
        why = {_WAITING.get(name, name): cause for name, cause in why.items()}
    records = found.count() * config.copies if begins else 0
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


def find_todo(plan: Plan, done: Collection[int]) -> list[Shard]:
    """The shards of a plan that are not committed, in its order."""
    return [shard for shard in plan.shards() if shard.index not in done]
