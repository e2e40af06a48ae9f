"""What it costs to go on: the start of a large run that is nearly done."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most
from benchmarks.workload import config, custom, photographs
from mira_batch.config.load import load_config
from mira_batch.core.identity import content_hash
from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.runtime.ledger import Ledger
from mira_batch.storage import schema
from mira_batch.storage.manifest import list_files
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planwriter import PlanWriter
from tests.support.runs.edits import edit_results, open_edit_run

CHUNK = 10_000
_UNTOLD = 100
"""Shards committed since the last sum."""


def plan_nearly_done(folder: Path, records: int) -> dict[str, Any]:
    """A run of so many records, planned as the planner plans, of whose shards 99 % are committed.

    Only the names of result files count on resume, so each is a link to one file without a row; and the sum
    of their receipts, which a driver writes down every ten seconds, so that a killed one leaves most of it.
    """
    image = photographs(folder / "images", 64)[0]
    rows = folder / "manifest.jsonl"
    line = {"image": f"images/{image.name}", "instruction": "make it nicer"}
    with open(rows, "w") as file:
        for i in range(records):
            file.write(json.dumps({"record_id": f"sku-{i:07d}"} | line) + "\n")
    notes = folder / "notes"
    notes.mkdir()
    editor = custom("noting_editor", notes=str(notes), settings={"type": "simulated"})
    settings = config(rows, folder / "out", editor=editor, workers={"min": 2}, run_id="large")
    loaded = load_config(settings)
    store = open_edit_run(loaded, list_files(loaded.input, loaded.storage))
    writer = PlanWriter(store, loaded.workers.shard_size, loaded.workers.most)
    for first in range(0, records, CHUNK):
        writer.add(
            pa.table(_plan_columns(range(first, min(first + CHUNK, records)), image), schema=schema.PLAN)
        )
    plan = writer.finish(schema.REJECTS.empty_table())
    empty = Path(store.locate(result_key(0)))
    assert store.create(result_key(0), nothing := edit_results([]))
    done = round(0.99 * len(plan.sizes))
    ledger = Ledger(store, "0", RunSummary(store.uri, store.name))
    for index, size in enumerate(plan.sizes[:done]):
        if index:
            os.link(empty, store.locate(result_key(index)))
        if index < done - _UNTOLD:
            ledger.add(Receipt(index, Tally(size, size), written=len(nothing)), size)
    ledger.save()
    return settings


def _plan_columns(numbers: range, image: Path) -> dict[str, list[Any]]:
    names = [f"sku-{i:07d}" for i in numbers]
    given = {
        "record_id": names,
        "work_id": [content_hash(name) for name in names],
        "instruction": ["make it nicer"] * len(names),
        "image_uri": [str(image)] * len(names),
        "metadata": ["{}"] * len(names),
    }
    return {name: given.get(name, [None] * len(names)) for name in schema.PLAN.names}


@cache
def _resumed(bench: Bench) -> dict[str, Any]:
    folder = bench.folder / "resume"
    settings = plan_nearly_done(folder, bench.size(1_000_000, 100_000))
    found = in_child("resume", config=settings)
    lines = [line for path in (folder / "notes").iterdir() for line in path.read_text().splitlines()]
    notes = [json.loads(line) for line in lines]
    return found | {"first_edit": min(note["begin"] for note in notes)}


def resume_start(bench: Bench) -> Figure:
    found = _resumed(bench)
    return at_most(
        30,
        "resume_99_percent_seconds",
        found["first_edit"] - found["started"],
        "s",
        f"From the `run` call of a plan of {found['planned']:,} records ({found['shards']:,} shards), of "
        f"which {found['already']:,} are committed, to the first edit: a LIST of the results, Ray's start, "
        f"the actor pool, the first images; {found['executing'] - found['started']:.1f} s of it before Ray.",
    )


def resume_memory(bench: Bench) -> Figure:
    found = _resumed(bench)
    return at_most(
        1000,
        "resume_99_percent_driver_mb",
        found["peak_rss"] / 1e6,
        "MB",
        f"Peak resident memory of the driver of that run up to its first commit; after its imports it had "
        f"{found['imported_rss'] / 1e6:.0f} MB.",
    )


FIGURES = (resume_start, resume_memory)
