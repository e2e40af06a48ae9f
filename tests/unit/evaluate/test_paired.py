"""Wins, both orders and several tests at once, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mira_batch.evaluate.statistics import (
    StatisticsError,
    WinTieLoss,
    adjust_holm,
    count_wins,
    settle_orders,
)


def test_wins_are_counted_beyond_a_tie() -> None:
    differences = [0.3, 0.1, 0.0, -0.1, -0.3, -2]
    assert count_wins(differences) == WinTieLoss(2, 1, 3)
    assert count_wins(differences, tie=0.1) == WinTieLoss(1, 3, 2)
    assert count_wins([7.3 - 7.2, 7.2 - 7.3], tie=0.1) == WinTieLoss(0, 2, 0), "decimal scores are rounded"
    for values, tie in (([], 0.0), ([math.nan], 0.0), ([1.0], -0.1), ([1.0], math.nan)):
        with pytest.raises(StatisticsError):
            count_wins(values, tie)


def test_orders_that_disagree_are_a_tie() -> None:
    found = settle_orders([1, 1, -1, 0, 1, 0, -1], [1, -1, -1, 0, 0, -1, 1])
    assert found.verdicts.tolist() == [1, 0, -1, 0, 0, 0, 0]
    assert (found.reversed, found.half) == (2, 2)
    assert found.disagreement == pytest.approx(4 / 7)
    for a, b in (([], []), ([1], [1, 0]), ([2], [1]), ([1, math.nan], [1, 1])):
        with pytest.raises(StatisticsError):
            settle_orders(a, b)


def test_holm_by_hand() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.6, 0.7]) == [1, 1]
    assert adjust_holm([0.04]) == [0.04]
    for wrong in ([], [0.1, math.nan], [1.2], [-0.1]):
        with pytest.raises(StatisticsError):
            adjust_holm(wrong)


def test_holm_keeps_false_alarms_below_the_level() -> None:
    """Of five tests of which two have something to find, and all depend on each other."""
    rng = np.random.default_rng(3)
    shared, own = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 5))
    p = 2 * stats.norm.sf(np.abs(0.6 * shared + 0.8 * own + [0, 0, 0, 4, 4]))
    adjusted = np.array([adjust_holm(row) for row in p.tolist()])
    assert np.mean((adjusted[:, :3] <= 0.05).any(1)) <= 0.05 + 0.01
    assert np.mean((p[:, :3] <= 0.05).any(1)) > 0.1, "plain ones don't"
    assert np.mean(adjusted[:, 3] <= 0.05) > 0.8
