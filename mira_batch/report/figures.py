"""The figures of a run as plain data, for `--json`."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from mira_batch.core.costs import split_cost
from mira_batch.core.receipts import RunSummary

_RECORD_SECONDS = ("policy", "editor", "judge", "waiting", "io")
_WORKER_SECONDS = ("worker", "gpu", "load", "policy", "editor", "judge", "retried", "policy_waiting")
_WORKER_SECONDS += ("editor_waiting", "judge_waiting", "io")


def dump_summary(summary: RunSummary) -> dict[str, Any]:
    """A run's summary by name, with the figures that follow from it."""
    names = [field.name for field in fields(summary) if field.name != "total"]
    tally, total = summary.tally, summary.total
    return {name: getattr(summary, name) for name in names} | {
        "causes": {name: asdict(cause) for name, cause in summary.causes.items()},
        "estimate": None if summary.estimate is None else asdict(summary.estimate),
        "ok": tally.ok,
        "unfinished": tally.unfinished,
        "failed": tally.failed,
        "unread": summary.unread,
        "steps": tally.steps,
        "resumed_steps": tally.resumed_steps,
        "errors": tally.errors,
        "stops": tally.stops,
        "written": total.written,
        "seconds": {name: tally.usage[name] for name in _RECORD_SECONDS},
        "cost": summary.cost,
        "spent": {name: total.breakdown[name] for name in _WORKER_SECONDS},
        "workers": {
            worker: {name: usage[name] for name in _WORKER_SECONDS}
            for worker, usage in summary.workers.items()
        },
        "restarts": total.restarts,
        "retries": summary.retries,
        "results": summary.results,
        "complete": summary.complete,
        "gpu_cost": summary.gpu_cost,
        "cost_per_accepted": summary.cost_per_accepted,
        "cost_by_role": split_cost(summary),
    }
