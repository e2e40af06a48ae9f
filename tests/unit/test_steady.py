"""What the watch over a long run calls a rise, by readings made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from tests.steady import WORKERS, Watched, find_faults, measure_slope, report

NOISE = np.random.default_rng(0).normal(0, 1, 240)


def watched(
    memory: Callable[[float], float] = lambda hours: 0.0, handles: Callable[[int], int] = lambda number: 0
) -> Watched:
    """An hour of readings, of 200 MB and 40 handles and what is given."""
    at = [15.0 * number for number in range(240)]
    held = [200 + memory(second / 3600) + NOISE[number] for number, second in enumerate(at)]
    return Watched("worker", at, held, [40 + handles(number) for number in range(240)], [9] * 240)


def test_a_slope_has_an_interval_that_holds_it() -> None:
    one = watched(lambda hours: 12 * hours)
    slope = measure_slope(one.at, one.memory)
    assert slope.low < 12 < slope.high and slope.high - slope.low < 3
    flat = watched()
    slope = measure_slope(flat.at, flat.memory)
    assert slope.low < 0 < slope.high


def test_what_rises_is_a_fault_and_what_goes_up_and_down_is_none() -> None:
    assert find_faults(watched()) == []
    assert find_faults(watched(lambda hours: 2 * hours)) == []  # a hundredth
    (fault,) = find_faults(watched(lambda hours: 20 * hours))
    assert fault.startswith("memory rises by ")
    assert find_faults(watched(handles=lambda number: number // 100)) == ["handles rise from 40 to 41"]
    assert find_faults(watched(handles=lambda number: number % 7)) == []


@pytest.mark.parametrize(("processes", "failed"), [(1 + WORKERS, 0), (WORKERS, 1), (0, 1)])
def test_a_watch_that_saw_too_few_processes_says_nothing(processes: int, failed: int) -> None:
    assert report([watched() for _ in range(processes)], Console(quiet=True)) == failed
