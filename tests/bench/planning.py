"""How long a plan of many records takes, and what it costs the driver."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.bench.child import in_child
from tests.bench.figure import Bench, Figure, at_most, reported
from tests.bench.workload import config, large_manifests


@cache
def _manifests(bench: Bench) -> dict[str, Any]:
    return large_manifests(bench.folder / "planning", bench.size(100_000, 20_000))


@cache
def _plan(bench: Bench, form: str) -> dict[str, Any]:
    number = bench.size(100_000, 20_000)
    settings = config(_manifests(bench)[form], bench.folder / f"plan-{form}", workers={"min": 2})
    found = in_child("plan", config=settings)
    assert found["records"] == number
    return found


def _seconds(bench: Bench, form: str) -> Figure:
    found = _plan(bench, form)
    return at_most(
        60,
        f"plan_{form}_seconds",
        found["wall"],
        "s",
        f"`plan` of {found['records']:,} records from one {form} file on Ray, with Ray's start, an image "
        f"look-up per record (local) and the plan written: {found['shards']:,} shards.",
    )


def _driver_memory(bench: Bench, form: str) -> Figure:
    found = _plan(bench, form)
    return reported(
        f"plan_{form}_driver_mb",
        found["peak_rss"] / 1e6,
        "MB",
        f"Peak resident memory of the driver of that plan; after its imports it had "
        f"{found['imported_rss'] / 1e6:.0f} MB.",
    )


def plan_jsonl_seconds(bench: Bench) -> Figure:
    return _seconds(bench, "jsonl")


def plan_jsonl_driver_memory(bench: Bench) -> Figure:
    return _driver_memory(bench, "jsonl")


def plan_parquet_seconds(bench: Bench) -> Figure:
    return _seconds(bench, "parquet")


def plan_parquet_driver_memory(bench: Bench) -> Figure:
    return _driver_memory(bench, "parquet")


FIGURES = (
    plan_jsonl_seconds,
    plan_jsonl_driver_memory,
    plan_parquet_seconds,
    plan_parquet_driver_memory,
)
