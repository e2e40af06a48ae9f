"""The watch over long runs: what it calls steady, and what not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.steady import Watched, find_faults, measure_slope

AT = [5.0 * number for number in range(720)]  # an hour


def draw_walk(rise: float) -> list[float]:
    """Memory around 300 MB whose readings are like those before, and that rises so much in an hour."""
    draw, level, found = np.random.default_rng(1), 0.0, []
    for at in AT:
        level = 0.8 * level + draw.normal(0, 0.5)
        found.append(300 + level + rise * at / 3600)
    return found


def test_a_slope_has_an_interval_around_it() -> None:
    slope = measure_slope(AT, draw_walk(20))
    assert slope.low < 20 < slope.high and slope.value == pytest.approx(20, abs=1)
    assert slope.high - slope.low < 3
    flat = measure_slope(AT, draw_walk(0))
    assert flat.low < 0 < flat.high


@pytest.mark.parametrize(("rise", "faulty"), [(0, False), (3, False), (30, True)])
def test_memory_may_not_rise_surely_and_by_much(rise: float, faulty: bool) -> None:
    watched = Watched("worker", AT, draw_walk(rise), [44] * len(AT), [20] * len(AT))
    assert bool(find_faults(watched)) is faulty


def test_handles_and_threads_may_come_and_go_but_not_grow() -> None:
    breathing = [44 + number % 7 for number in range(len(AT))]
    growing = [44 + number // 100 for number in range(len(AT))]
    assert find_faults(Watched("worker", AT, draw_walk(0), breathing, breathing)) == []
    faults = find_faults(Watched("worker", AT, draw_walk(0), growing, breathing))
    assert faults == ["handles rise from 46 to 48"]
