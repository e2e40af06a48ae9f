"""What the framework itself costs, with models that cost nothing, in one process without Ray."""

from __future__ import annotations

import os
from functools import cache
from itertools import product
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, reported
from benchmarks.workload import config, custom, manifest, photographs, records_with
from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count


def _repeats(bench: Bench, side: int = 512) -> int:
    return bench.size(2 if side == 512 else 1, 1)


def cpu_per_step(bench: Bench) -> Figure:
    runs: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for repeat, fidelity in product(range(_repeats(bench)), runs):
        folder = bench.folder / f"step-cpu-{repeat}-{fidelity}"
        settings = config(
            manifest(folder, 8, records_with(edits=bench.size(4_000, 1_000))),
            folder / "out",
            policy=custom("free_policy"),
            editor=custom("free_editor"),
            backend="inline",
        )
        settings["output"]["fidelity"] = fidelity
        runs[fidelity].append(in_child("run", config=settings))
    best, without = (min(found, key=lambda run: run["cpu"]) for found in runs.values())
    return at_most(
        1000,
        "framework_cpu_per_step_us",
        1e6 * best["cpu"] / best["steps"],
        "µs",
        f"CPU of the process (user and system) from the plan's end to the run's, ÷ {best['steps']:,} edits "
        f"of {best['records']:,} records, so with all that is spent per record and per shard: 8² images, "
        f"models that cost nothing, inline, log and results on a local disk with fsync; best of "
        f"{len(runs[True])}. With `output.fidelity: false`, in turns: "
        f"{1e6 * without['cpu'] / without['steps']:,.0f} µs.",
    )


@cache
def _against_bare(bench: Bench, side: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The framework's run and the bare loop, taken in turns; the best of each. An edit of 1024² images costs
    four times the CPU, so there are fewer of them."""
    number = bench.size(500, 60) if side == 512 else bench.size(120, 20)
    names = records_with(edits=number)
    edits = [step_count(name, StepCounts()) for name in names]
    images = [str(path) for path in photographs(bench.folder / f"bare-{side}", side)]
    ours, bare = [], []
    for repeat in range(_repeats(bench, side)):
        folder = bench.folder / f"overhead-{side}-{repeat}"
        settings = config(
            manifest(folder, side, names), folder / "out", policy=custom("free_policy"), backend="inline"
        )
        found = in_child("run", config=settings)
        assert found["steps"] == sum(edits)
        ours.append(found | {"wall": found["commits"][-1][0] - found["executing"]})
        paths = [images[i % len(images)] for i in range(len(names))]
        bare.append(in_child("bare", images=paths, edits=edits, threads=os.cpu_count() or 1))
    return (
        {key: min(run[key] for run in ours) for key in ("cpu", "wall", "steps", "records")},
        {key: min(run[key] for run in bare) for key in ("cpu", "wall")},
    )


def _cpu(bench: Bench, side: int) -> tuple[float, str]:
    ours, bare = _against_bare(bench, side)
    method = (
        f"CPU of a run of {ours['records']} records and {ours['steps']} edits of {side}² photographs (policy "
        f"free, editor paints a rectangle, inline) ÷ CPU of a bare loop that decodes the same files, paints "
        f"the same rectangles and encodes each result once with the same library and level, in a pool of as "
        f"many threads as CPUs; {ours['cpu']:.1f} s to {bare['cpu']:.1f} s, best of "
        f"{_repeats(bench, side)} each, in turns."
    )
    return ours["cpu"] / bare["cpu"], method


def _wall(bench: Bench, side: int) -> tuple[float, str]:
    ours, bare = _against_bare(bench, side)
    method = (
        f"The same by the clock, from the plan's end to the last commit: {ours['wall']:.1f} s to "
        f"{bare['wall']:.1f} s. The bare loop writes nothing."
    )
    return ours["wall"] / bare["wall"], method


def cpu_against_bare_loop(bench: Bench) -> Figure:
    value, method = _cpu(bench, 512)
    return at_most(1.2, "framework_cpu_to_bare_loop", value, "", method)


def wall_against_bare_loop(bench: Bench) -> Figure:
    value, method = _wall(bench, 512)
    return reported("framework_wall_to_bare_loop", value, "", method)


def cpu_against_bare_loop_1024(bench: Bench) -> Figure:
    value, method = _cpu(bench, 1024)
    return reported("framework_cpu_to_bare_loop_1024", value, "", method)


def wall_against_bare_loop_1024(bench: Bench) -> Figure:
    value, method = _wall(bench, 1024)
    return reported("framework_wall_to_bare_loop_1024", value, "", method)


FIGURES = (
    cpu_per_step,
    cpu_against_bare_loop,
    wall_against_bare_loop,
    cpu_against_bare_loop_1024,
    wall_against_bare_loop_1024,
)
