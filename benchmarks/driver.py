"""What a thousand workers ask of the one driver: its CPU, its memory, and how long a receipt waits for it."""

from __future__ import annotations

from functools import cache
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, reported

WORKERS = 1000
RATE = 250.0
"""Receipts a second: of shards of 32 records, 8 records a second and worker."""


@cache
def _driven(bench: Bench) -> dict[str, Any]:
    folder = bench.folder / "driver"
    folder.mkdir()
    shards, seconds = bench.size(100_000, 2_000), bench.size(30, 2)
    return in_child("drive", folder=str(folder), workers=WORKERS, shards=shards, rate=RATE, seconds=seconds)


def _how(bench: Bench) -> str:
    return (
        f"The driver's own code (receipts, ledger, clock, live.json, terminal) in a process of its own, with "
        f"{WORKERS:,} workers that only tell: a heartbeat a second with 16 records in flight, and {RATE:g} "
        f"receipts a second of the last of {bench.size(100_000, 2_000):,} shards. Without Ray's own work."
    )


def driver_cores(bench: Bench) -> Figure:
    found = _driven(bench)
    how = (
        "CPU seconds for what comes in a second, the simulated workers' texts included; "
        f"it ended {found['behind']:.1f} s behind them. {_how(bench)}"
    )
    return at_most(1, "driver_cores", found["cores"], "", how)


def driver_memory(bench: Bench) -> Figure:
    peak = _driven(bench)["peak_rss"] / 1e6
    return at_most(1000, "driver_mb", peak, "MB", "Peak resident memory of that process, which has no Ray.")


def receipt_waits(bench: Bench) -> list[Figure]:
    waited, how = _driven(bench)["waited"], "receipt waits until the driver has counted it, in the same run."
    return [
        reported("driver_receipt_ms", 1000 * waited[len(waited) // 2], "ms", f"How long the middle {how}"),
        reported(
            "driver_receipt_p99_ms", 1000 * waited[len(waited) * 99 // 100], "ms", f"One of a hundred {how}"
        ),
    ]


def receipts_per_second(bench: Bench) -> Figure:
    how = "Receipts a second at most: the first of these shards, as fast as the driver took them."
    return reported("driver_receipts_per_second", _driven(bench)["receipts_per_second"], "", how)


FIGURES = (driver_cores, driver_memory, receipt_waits, receipts_per_second)
