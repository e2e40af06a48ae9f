"""How much of an evaluation's time its judges are at work.

The results are those of a run, with images; the judge is simulated: it sleeps for its time, and notes when
each of its calls began and ended.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_least, at_most, reported
from benchmarks.timeline import Timeline, read_timeline
from benchmarks.workload import config, custom, manifest

WORKERS, SECONDS, BATCH, SIDE = 4, 0.2, 4, 64


@cache
def _judged(bench: Bench) -> dict[str, Any]:
    """A run that edits so many records, and one that judges its results."""
    folder = bench.folder / "judging"
    names = [f"rec-{i:06d}" for i in range(bench.size(10_000, 320))]
    one_edit = {"type": "simulated", "steps": {"exact": {"*": 1}}}
    edited = config(
        manifest(folder, SIDE, names),
        folder / "edited",
        policy=one_edit,
        backend="inline",
        workers={"records_in_flight": 64},
    )
    results = in_child("run", config=edited)["run"]
    (folder / "notes").mkdir()
    judge = {"type": "simulated", "service": {"seconds": SECONDS}, "max_batch": BATCH}
    return in_child(
        "run",
        config={
            "job": "evaluate",
            "input": {"manifest": results},
            "output": {"uri": str(folder / "scores")},
            "judge": custom("noting_judge", notes=str(folder / "notes"), settings=judge, together=WORKERS),
            "controls": {"repeats": 0, "canaries": 0},
            "workers": {"min": WORKERS},
        },
    )


@cache
def _timeline(bench: Bench) -> Timeline:
    notes = bench.folder / "judging" / "notes"
    return read_timeline(notes, _judged(bench), WORKERS, BATCH, SECONDS, role="judge")


def steady_efficiency(bench: Bench) -> Figure:
    line = _timeline(bench)
    window = line.steady()
    return at_least(
        0.97,
        "efficiency_judging_steady",
        window.efficiency,
        "",
        f"`evaluate` over {line.records:,} results of a run, {SECONDS:g} s a call of the judge, batch "
        f"{BATCH}, {WORKERS} workers on Ray, {SIDE}² images, both read and decoded for each: bare judge time "
        f"÷ wall of each worker, from when 5 % were judged to when 90 % were, by the judges' own notes: "
        f"{window.edits:,} judgings, mean batch {window.mean_batch:.2f}, mean call {window.mean_call:.4f} s.",
    )


def end_to_end_efficiency(bench: Bench) -> Figure:
    line = _timeline(bench)
    return reported(
        "efficiency_judging_end_to_end",
        line.bare(line.made) / (line.ended - line.started),
        "",
        "The same run, bare judge time ÷ wall of the whole `run` call, from before Ray starts until after it "
        "has stopped, plan included.",
    )


def driver_memory(bench: Bench) -> Figure:
    found = _judged(bench)
    return at_most(
        1000,
        "judging_driver_mb",
        found["peak_rss"] / 1e6,
        "MB",
        f"Peak resident memory of the driver of that run; after its imports it had "
        f"{found['imported_rss'] / 1e6:.0f} MB.",
    )


FIGURES = (steady_efficiency, end_to_end_efficiency, driver_memory)
