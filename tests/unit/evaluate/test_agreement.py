"""Agreement by published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mira_batch.evaluate.statistics import (
    StatisticsError,
    find_cohen_kappa,
    find_fleiss_kappa,
    measure_self_agreement,
)

SHROUT_AND_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Table 2 of their paper of 1979."""
FLEISS = [
    *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
    *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
]
"""Ten items, sorted by 14 raters into five categories: how often each. A textbook's example, κ = 0.210."""


def test_icc_of_shrout_and_fleiss() -> None:
    found = measure_self_agreement(SHROUT_AND_FLEISS)
    assert found.icc == pytest.approx(0.1657, abs=5e-5)
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.1329, 0.7226), abs=5e-5)
    assert (found.items, found.repeats) == (6, 4)


def test_icc_of_a_known_world() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 3, (2000, 1)) + rng.normal(0, 1, (2000, 3))
    found = measure_self_agreement(scores)
    assert found.icc == pytest.approx(0.9, abs=0.01) and found.interval.covers(0.9)
    assert measure_self_agreement(scores * 10 + 5).icc == pytest.approx(found.icc)
    assert measure_self_agreement([[1, 1], [4, 4], [3, 3]]).icc == 1
    assert measure_self_agreement([[1, 2], [2, 1]]).icc == -1


def test_how_far_repeats_are_apart() -> None:
    found = measure_self_agreement([[5, 5, 5], [7, 8, 7], [2, 2, 6]])
    assert found.median_difference == 0  # of 0 0 0, 1 0 1, 0 4 4
    assert found.p95_difference == pytest.approx(4)


def test_a_judge_that_tells_nothing_apart_is_refused() -> None:
    with pytest.raises(StatisticsError, match="All 4 scores are 7"):
        measure_self_agreement([[7, 7], [7, 7]])
    for wrong in ([], [[1, 2]], [[1], [2]], [[1, 2], [3]], [[1, 2], [3, math.nan]], [1, 2]):
        with pytest.raises(StatisticsError):
            measure_self_agreement(wrong)


def test_cohen_by_hand() -> None:
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert find_cohen_kappa(one, other) == pytest.approx(0.4)  # p_o 0.7, p_e 0.5 * 0.6 + 0.5 * 0.4
    assert find_cohen_kappa(one, one) == 1
    assert find_cohen_kappa([0, 1], [1, 0]) == -1
    assert find_cohen_kappa(np.array([True, True]), np.array([True, False])) == 0
    for a, b in (([], []), ([1], [1, 2]), ([1, 2], [1]), ([1, 1], [1, 1]), ([1, None], [1, 2])):
        with pytest.raises(StatisticsError):
            find_cohen_kappa(a, b)


def test_fleiss_by_a_textbook() -> None:
    ratings = [[k for k, times in enumerate(row) for _ in range(times)] for row in FLEISS]
    assert find_fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)
    assert find_fleiss_kappa([["a", "a"], ["b", "b"]]) == 1
    for wrong in ([], [["a"]], [["a", "b"], ["a"]], [["a", "a"], ["a", "a"]]):
        with pytest.raises(StatisticsError):
            find_fleiss_kappa(wrong)
