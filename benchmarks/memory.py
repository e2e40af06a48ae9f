"""What the driver's memory depends on."""

from __future__ import annotations

from typing import Any

from benchmarks.child import side_by_side
from benchmarks.figure import Bench, Figure, at_most
from benchmarks.workload import config, manifest

STEPS = 2


def _job(bench: Bench, side: int, records: int) -> dict[str, Any]:
    folder = bench.folder / f"memory-{side}"
    names = [f"rec-{i:05d}" for i in range(records)]
    return config(
        manifest(folder, side, names),
        folder / "out",
        policy={"type": "simulated", "steps": {"exact": {"*": STEPS}}},
        workers={"min": 2},
    )


def driver_memory_ratio(bench: Bench) -> Figure:
    records = bench.size(96, 32)
    jobs = ({"config": _job(bench, side, records)} for side in (64, 1024))
    small, large = side_by_side("run", *jobs)
    return at_most(
        1.10,
        "driver_memory_large_to_small_images",
        large["peak_rss"] / small["peak_rss"],
        "",
        f"Peak resident memory of the driver over {records} records of {STEPS} edits on Ray, 2 workers: with "
        f"1024² images ({large['written'] / 1e6:.0f} MB of results) {large['peak_rss'] / 1e6:.0f} MB, with "
        f"64² images ({small['written'] / 1e6:.1f} MB of results) {small['peak_rss'] / 1e6:.0f} MB.",
    )


FIGURES = (driver_memory_ratio,)
