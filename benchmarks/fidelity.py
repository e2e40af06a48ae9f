"""What it costs to measure each result against its source: whole runs with it and without, in turns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, reported
from benchmarks.workload import config, custom, manifest, records_with

TONES = "increase the brightness by 10%, increase the saturation by 20% and sharpen it by 50%"
"""Edits that leave no pixel as it was, of an image that stays where it is: there is no dearer case."""


def _run(folder: Path, side: int, records: list[str], embedded: bool, fidelity: bool) -> dict[str, Any]:
    path = manifest(folder, side, records)
    models: dict[str, Any] = {"policy": custom("free_policy")}
    if embedded:
        rows = [json.loads(line) | {"instruction": TONES} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        models = {"policy": {"type": "rules"}, "editor": {"type": "pillow"}}
    settings = config(path, folder / "out", backend="inline", **models)
    settings["output"]["fidelity"] = fidelity
    return in_child("run", config=settings)


def _compare(bench: Bench, side: int, embedded: bool) -> Figure:
    edits = bench.size(240, 60) if side == 512 else bench.size(60, 15)
    records, turns = records_with(edits=edits), bench.size(4, 1)
    kind = "embedded" if embedded else "local"
    cpu: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(turns):
        for fidelity in (False, True) if turn % 2 == 0 else (True, False):
            folder = bench.folder / f"fidelity-{kind}-{side}-{turn}-{fidelity}"
            cpu[fidelity].append(_run(folder, side, records, embedded, fidelity)["cpu"])
    without, with_it = min(cpu[False]), min(cpu[True])
    each = 1000 / len(records)
    edited = "the embedded models make three edits of tone" if embedded else "the editor paints a rectangle"
    return reported(
        f"fidelity_cpu_{kind}_{side}",
        with_it / without,
        "",
        f"CPU of a run of {len(records)} records of {side}² photographs, of which {edited}, with "
        f"`output.fidelity` ÷ without; {each * with_it:.1f} ms to {each * without:.1f} ms a record, inline, "
        f"best of {turns} each, in turns.",
    )


def local_edits(bench: Bench) -> Figure:
    return _compare(bench, 512, embedded=False)


def embedded_models(bench: Bench) -> Figure:
    return _compare(bench, 512, embedded=True)


def embedded_models_1024(bench: Bench) -> Figure:
    return _compare(bench, 1024, embedded=True)


FIGURES = (local_edits, embedded_models, embedded_models_1024)
