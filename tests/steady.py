"""`python -m tests.steady [minutes]`: one long run on Ray that nothing disturbs, and what it holds.

The models are simulated and nearly idle, so what is looked at is the framework: driver and workers, their
resident memory, file handles and threads, every few seconds. What a run must not do is hold more the longer
it goes on. The first third of the time is warm-up. After that memory may not rise surely, by the low end of
the 95 % interval of its slope, by more than a fiftieth over the rest of the watch; and the fewest handles and
threads of the last third of that may not be more than the most of its first third.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI
from tests.support.runs.drivers import Driver, drivers

WORKERS, RATE = 2, 60
"""Records a second that are enough for any machine."""
WARM_UP = 1 / 3
MOST_RISE = 0.02
"""Of the resident memory, after the warm-up: less is what an allocator does."""
BLOCKS, DRAWS = 12, 2_000
"""Readings that follow one another are alike, so the interval is of blocks of them."""


@dataclass
class Watched:
    """What a process held, reading by reading."""

    name: str
    at: list[float] = field(default_factory=list)
    """Seconds since the beginning."""
    memory: list[float] = field(default_factory=list)
    """Resident, in MB."""
    handles: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, process: psutil.Process, at: float) -> None:
        """Take a reading."""
        with process.oneshot():
            held = process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()
        for values, value in zip(
            (self.at, self.memory, self.handles, self.threads), (at, *held), strict=True
        ):
            values.append(value)  # type: ignore[arg-type]

    def warm(self, until: float) -> Watched:
        """The readings after the warm-up."""
        first = sum(at < until for at in self.at)
        return Watched(
            self.name, self.at[first:], self.memory[first:], self.handles[first:], self.threads[first:]
        )


@dataclass(frozen=True)
class Slope:
    """MB an hour, with the 95 % interval."""

    value: float
    low: float
    high: float


def measure_slope(at: Sequence[float], memory: Sequence[float]) -> Slope:
    """How fast memory grows, by least squares; its interval by drawing blocks of readings that follow one
    another, of what the line leaves over.

    Args:
        at: seconds of the readings.
        memory: of each, in MB.
    """
    hours, held = np.asarray(at) / 3600, np.asarray(memory)
    slope, level = np.polyfit(hours, held, 1)
    rest = held - (slope * hours + level)
    length = max(1, len(rest) // BLOCKS)
    draw = np.random.default_rng(0)
    starts = draw.integers(0, len(rest) - length + 1, (DRAWS, -(-len(rest) // length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(DRAWS, -1)[:, : len(rest)]
    drawn = np.polyfit(hours, (held - rest + rest[places]).T, 1)[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Slope(float(slope), float(low), float(high))


def find_faults(watched: Watched) -> list[str]:
    """What a process holds more and more of.

    Args:
        watched: after its warm-up.
    """
    faults = []
    slope = measure_slope(watched.at, watched.memory)
    hours = (watched.at[-1] - watched.at[0]) / 3600
    if slope.low * hours > MOST_RISE * median(watched.memory):
        faults.append(f"memory rises by {slope.value:.1f} MB an hour ({slope.low:.1f} to {slope.high:.1f})")
    for what in ("handles", "threads"):
        held: list[int] = getattr(watched, what)
        third = max(1, len(held) // 3)
        if min(held[-third:]) > max(held[:third]):
            faults.append(f"{what} rise from {max(held[:third])} to {min(held[-third:])}")
    return faults


def main(arguments: list[str]) -> int:
    """Run, watch, and say what was held: 1 where something rises."""
    minutes = float(arguments[0]) if arguments else 10.0
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="mira-batch-steady-") as scratch:
        folder = Path(scratch)
        manifest = make_catalogue(folder / "catalogue", round(RATE * 60 * minutes))
        config = settings(
            manifest,
            folder / "out",
            backend="ray",
            policy={"type": "simulated", "service": {"seconds": 0.005}},
            editor={"type": "simulated", "service": {"seconds": 0.1}, "max_batch": 4},
            workers={"min": WORKERS},
            limits={"deadline": f"{max(1, round(60 * minutes))}s"},
        )
        config["output"]["step_images"] = "drop"
        (folder / "config.json").write_text(json.dumps(config))
        with drivers() as begin:
            driver = begin(*CLI, "run", "--config", folder / "config.json")
            found = watch(driver, max(0.5, min(5.0, minutes / 5)))
            words = driver.end(300)
    if driver.process.returncode not in (0, 1) or "deadline" not in words:
        console.print(words)
        raise SystemExit(f"the run ended with {driver.process.returncode}, and not by its deadline")
    console.print(words.strip().splitlines()[-1])
    return report(found, console)


def watch(driver: Driver, every: float) -> list[Watched]:
    """Look at a driver and its workers until it ends."""
    began, found = time.monotonic(), dict[int, Watched]()
    while driver.process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            driver.process.wait(every)
        for pid, name in list_watched(driver):
            with suppress(psutil.Error):
                one = found.setdefault(pid, Watched(name))
                one.name = name  # what Ray calls a process changes when it gets something to do
                one.look(psutil.Process(pid), time.monotonic() - began)
    return [one for one in found.values() if one.at]  # not those that were gone before they were looked at


def list_watched(driver: Driver) -> Iterable[tuple[int, str]]:
    """The driver and its workers, by pid."""
    yield driver.process.pid, "driver"
    for pid, words in driver.find_processes().items():
        if words.startswith("ray::"):
            yield pid, words.partition("(")[0].split(".")[0]


def report(found: Sequence[Watched], console: Console) -> int:
    """Print what was held: 1 where something rises."""
    end = max((one.at[-1] for one in found), default=0.0)
    whole = [one for one in found if one.at[-1] > 0.9 * end]
    begin = max((one.at[0] for one in whole), default=0.0)  # when all were there
    warm_up = begin + (end - begin) * WARM_UP
    table = Table(title=f"the last {(end - warm_up) / 60:.1f} of {end / 60:.1f} minutes")
    for column in ("process", "MB", "MB an hour", "95 % interval", "handles", "threads", ""):
        table.add_column(column)
    failed = len(whole) < 1 + WORKERS
    for one in whole:
        warm = one.warm(warm_up)
        slope, faults = measure_slope(warm.at, warm.memory), find_faults(warm)
        failed |= bool(faults)
        table.add_row(
            one.name,
            f"{warm.memory[0]:.0f} to {warm.memory[-1]:.0f}",
            f"{slope.value:+.1f}",
            f"{slope.low:+.1f} to {slope.high:+.1f}",
            *(f"{min(held)} to {max(held)}" for held in (warm.handles, warm.threads)),
            "; ".join(faults) or "steady",
        )
    console.print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
