"""Two runs record by record: who wins how often, both orders of a pairwise judge, several tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mira_batch.evaluate.statistics.checks import StatisticsError, read_values

_ROUNDING = 1e-9
"""By what differences of decimal scores are off: 7.3 - 7.2 is no tie of 0.1 otherwise."""


@dataclass(frozen=True, slots=True)
class WinTieLoss:
    """On how many records B is better than A, as good, worse."""

    win: int
    tie: int
    loss: int


def count_wins(differences: ArrayLike, tie: float = 0.0) -> WinTieLoss:
    """Count who is better on how many records.

    Args:
        differences: B less A on the same records, shape [records].
        tie: up to which size a difference is a tie, in their unit.

    Raises:
        StatisticsError: no differences, one is NaN, or `tie` is below 0.
    """
    array = read_values(differences, "difference")
    if not tie >= 0:
        raise StatisticsError(f"A tie threshold of {tie}: it can't be below 0")
    wins, losses = (int(np.count_nonzero(sign * array > tie + _ROUNDING)) for sign in (1, -1))
    return WinTieLoss(wins, array.size - wins - losses, losses)


@dataclass(frozen=True, slots=True)
class BothOrders:
    """What a pairwise judge says once each pair was shown in both orders."""

    verdicts: NDArray[np.int8]
    """1 B is better, -1 A is better, 0 a tie, shape [pairs]."""
    reversed: int
    """Pairs of which it prefers each in turn, by where it stands: ties now."""
    half: int
    """Pairs of which one order is a tie and the other is not: ties now."""

    @property
    def disagreement(self) -> float:
        """Share of pairs on which the orders disagree in any way."""
        return (self.reversed + self.half) / len(self.verdicts)


def settle_orders(a_first: ArrayLike, b_first: ArrayLike) -> BothOrders:
    """Join the verdicts of both orders; where they disagree the pair is a tie.

    Args:
        a_first, b_first: the verdict with A, with B shown first: 1 B is better, -1 A is better, 0 a tie,
            shape [pairs]. Both say who is better, not which place.

    Raises:
        StatisticsError: no pairs, not equally many, or a verdict is none of these.
    """
    one, other = read_values(a_first, "verdict"), read_values(b_first, "verdict")
    if one.shape != other.shape or not np.isin([one, other], (-1, 0, 1)).all():
        raise StatisticsError("Verdicts of both orders of the same pairs are needed, each 1, 0 or -1")
    flips, differ = int(np.count_nonzero(one * other < 0)), int(np.count_nonzero(one != other))
    return BothOrders(np.where(one == other, one, 0).astype(np.int8), flips, differ - flips)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, so that all can be held against one level (Holm 1979, step-down).

    The k-th smallest of m becomes max over j <= k of min(1, (m - j + 1) p_(j)). The chance of any false alarm
    stays below the level, however the tests depend on each other.

    Args:
        p_values: one of each test, in any order.

    Returns:
        Adjusted ones, in the same order.

    Raises:
        StatisticsError: there are none, or one is not between 0 and 1.
    """
    array = read_values(p_values, "p-value")
    if array.min() < 0 or array.max() > 1:
        raise StatisticsError("A p-value must be between 0 and 1")
    order = np.argsort(array, kind="stable")
    stepped = np.maximum.accumulate(array[order] * np.arange(len(array), 0, -1))
    adjusted = np.empty_like(array)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()
