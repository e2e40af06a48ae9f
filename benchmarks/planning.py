"""How long a plan of many records takes, what it costs the driver, and how both grow with the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, in_table, reported
from benchmarks.workload import config

IMAGES = 5_000
"""Files that all records share: as many as a task looks up at a time, so that each record still takes a
look-up of its own. To create and delete a million would take longer than the plan does."""
GROWTH = "Plans of ever larger manifests"


def rows(number: int) -> Iterator[dict[str, Any]]:
    """Rows of a large catalogue, with some metadata."""
    for i in range(number):
        yield {
            "record_id": f"sku-{i:07d}",
            "image": f"images/{i % IMAGES // 1000:04d}/{i % IMAGES:06d}.jpg",
            "instruction": "remove the background, then centre it and brighten it a little",
            "shop": f"shop-{i % 97}",
            "price": i % 5000 / 100,
        }


@cache
def make_images(bench: Bench, name: str) -> Path:
    """Where manifests of `rows` lie, with their images: empty files, since a plan opens none."""
    folder = bench.folder / name
    for row in rows(IMAGES):
        path = folder / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@cache
def _plan(bench: Bench, records: int, form: str) -> dict[str, Any]:
    """A plan of so many records (of a fiftieth in a quick run)."""
    number = bench.size(records, records // 50)
    path = make_images(bench, "planning") / f"{number}.{form}"
    if form == "jsonl":
        with open(path, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(number))
    else:
        pq.write_table(pa.Table.from_pylist(list(rows(number))), path, row_group_size=10_000)
    settings = config(path, bench.folder / f"plan-{number}-{form}", workers={"min": 2})
    found = in_child("plan", config=settings)
    assert found["records"] == number
    return found


def _seconds(target: float, name: str, found: dict[str, Any], form: str) -> Figure:
    return at_most(
        target,
        name,
        found["wall"],
        "s",
        f"`plan` of {found['records']:,} records from one {form} file, with Ray's start, a look-up of the "
        f"image per record (local files, {IMAGES:,} that all share) and the plan written: "
        f"{found['shards']:,} shards.",
    )


def _driver_memory(target: float, name: str, found: dict[str, Any]) -> Figure:
    return at_most(
        target,
        name,
        found["peak_rss"] / 1e6,
        "MB",
        f"Peak resident memory of the driver of that plan; after its imports it had "
        f"{found['imported_rss'] / 1e6:.0f} MB.",
    )


def plan_million_seconds(bench: Bench) -> Figure:
    return _seconds(120, "plan_1m_seconds", _plan(bench, 1_000_000, "jsonl"), "JSONL")


def plan_million_driver_memory(bench: Bench) -> Figure:
    return _driver_memory(1_000, "plan_1m_driver_mb", _plan(bench, 1_000_000, "jsonl"))


def plan_parquet_seconds(bench: Bench) -> Figure:
    return _seconds(60, "plan_parquet_seconds", _plan(bench, 100_000, "parquet"), "Parquet")


def plan_parquet_driver_memory(bench: Bench) -> Figure:
    return _driver_memory(1_000, "plan_parquet_driver_mb", _plan(bench, 100_000, "parquet"))


def plan_growth(bench: Bench) -> list[Figure]:
    """From 10^4 records on; those are read in the driver, without Ray's tasks, and a fixed start is most of
    what they take, so the ratio is of the larger two."""
    found = {power: _plan(bench, 10**power, "jsonl") for power in (4, 5, 6)}
    ratio = found[6]["wall"] / found[5]["wall"]
    figures = [
        at_most(
            1.2,
            "plan_growth_seconds_1e6_to_1e5",
            ratio * found[5]["records"] / found[6]["records"],
            "",
            f"Seconds per record of a plan of {found[6]['records']:,} records ÷ of {found[5]['records']:,}: "
            "1 is linear, less is a fixed start that is shared by more.",
        )
    ]
    for power, plan in found.items():
        name, row = f"plan_1e{power}", f"{plan['records']:,} records"
        each, method = 1_000 * plan["wall"] / plan["records"], "Those plans, with Ray's start."
        memory = plan["peak_rss"] / 1e6
        figures += [
            in_table(reported(f"{name}_seconds", plan["wall"], "s", method), GROWTH, row, "wall"),
            in_table(reported(f"{name}_seconds_per_1000", each, "s", method), GROWTH, row, "per 1,000"),
            in_table(reported(f"{name}_driver_mb", memory, "MB", method), GROWTH, row, "driver"),
        ]
    return figures


FIGURES = (
    plan_million_seconds,
    plan_million_driver_memory,
    plan_parquet_seconds,
    plan_parquet_driver_memory,
    plan_growth,
)
