"""How far judgements agree: a judge with itself when it is asked again, judges with people."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mira_batch.evaluate.statistics.checks import (
    Floats,
    Interval,
    Labels,
    StatisticsError,
    check_share,
    number_labels,
    read_values,
)
from mira_batch.evaluate.statistics.special import find_f_quantile


@dataclass(frozen=True, slots=True)
class SelfAgreement:
    """How well a judge repeats its scores."""

    icc: float
    """ICC(1,1): share of the scores' variance that is between items, 1 where repeats are the same; below 0
    where those of one item differ more than items do."""
    interval: Interval
    """Of the ICC."""
    median_difference: float
    """Median of |difference| over all pairs of repeats of one item, in the scores' unit."""
    p95_difference: float
    """Its 95th percentile."""
    items: int
    repeats: int


def measure_self_agreement(scores: ArrayLike, confidence: float = 0.95) -> SelfAgreement:
    """ICC(1,1) of repeated scores, one-way random effects, a single score (Shrout and Fleiss 1979, case 1):
    repeats of one judge are exchangeable, none of them has a side of its own.

        ICC = (MSB - MSW) / (MSB + (k - 1) MSW)

    with the mean squares between and within items. The interval comes from F = MSB / MSW with n - 1 and
    n (k - 1) degrees of freedom; it takes scores as normal.

    Args:
        scores: shape [items, repeats], in any unit. An item of which a repeat failed is left out by the
            caller, and counted.
        confidence: two-sided, 0 to 1.

    Raises:
        StatisticsError: fewer than two items or repeats, a score is NaN, or all scores are the same: such a
            judge agrees with itself, and tells nothing apart.
    """
    array = read_values(scores, "score", axes=2)
    items, repeats = array.shape
    if items < 2 or repeats < 2:
        raise StatisticsError(f"{items} items with {repeats} repeats: two of both are needed at least")
    if np.ptp(array) == 0:
        raise StatisticsError(
            f"All {array.size} scores are {array.flat[0]:g}: the judge tells no item from another, so its "
            "agreement with itself can't be told"
        )
    means = array.mean(1)
    between = repeats * float(np.sum((means - means.mean()) ** 2)) / (items - 1)
    within = float(np.sum((array - means[:, None]) ** 2)) / (items * (repeats - 1))
    first, second = np.triu_indices(repeats, 1)
    apart = np.abs(array[:, first] - array[:, second])
    return SelfAgreement(
        _ratio(between, within, repeats),
        _bound_icc(between, within, items, repeats, check_share(confidence, "The confidence")),
        float(np.median(apart)),
        float(np.quantile(apart, 0.95)),
        items,
        repeats,
    )


def _ratio(between: float, within: float, repeats: int) -> float:
    return (between - within) / (between + (repeats - 1) * within)


def _bound_icc(between: float, within: float, items: int, repeats: int, confidence: float) -> Interval:
    side, degrees = (1 + confidence) / 2, (items - 1, items * (repeats - 1))
    return Interval(
        _ratio(between, within * find_f_quantile(side, *degrees), repeats),
        _ratio(between * find_f_quantile(side, *degrees[::-1]), within, repeats),
    )


def find_cohen_kappa(one: Labels, other: Labels) -> float:
    """Cohen's κ of two who sorted the same items (1960), unweighted: (p_o - p_e) / (1 - p_e).

    p_o is the share of items on which they agree, p_e what it would be by their own frequencies alone.

    Args:
        one, other: the category that each gave, shape [items].

    Raises:
        StatisticsError: no items, not equally many, or both gave one and the same category throughout.
    """
    if not len(one):
        raise StatisticsError("There is no item: agreement can't be told")
    number = number_labels([*_as_list(one), *_as_list(other)], len(one) + len(other), "category")
    if len(one) != len(other):
        raise StatisticsError(f"{len(one)} and {len(other)} categories: both must have sorted the same items")
    first, second = np.split(number, 2)
    kinds = int(number.max()) + 1
    shares = [np.bincount(side, minlength=kinds) / len(first) for side in (first, second)]
    return _correct_for_chance(float(np.mean(first == second)), float(shares[0] @ shares[1]))


def find_fleiss_kappa(ratings: Sequence[Labels]) -> float:
    """Fleiss' κ (1971) of several verdicts on each item: of raters who may change, or repeats of one.

    p_o is the mean share of agreeing pairs of an item, p_e the sum of squares of the categories' shares.

    Args:
        ratings: for each item the categories that it got, shape [items, raters].

    Raises:
        StatisticsError: no items, fewer than two raters, not equally many for each item, or one category
            throughout.
    """
    if not len(ratings) or len(ratings[0]) < 2:
        raise StatisticsError("Items with two verdicts at least are needed")
    raters = len(ratings[0])
    if any(len(row) != raters for row in ratings):
        raise StatisticsError(
            "Each item needs as many verdicts as the others: leave out what failed, and count it"
        )
    number = number_labels(
        [each for row in ratings for each in _as_list(row)], raters * len(ratings), "category"
    )
    table = _count_kinds(number.reshape(len(ratings), raters))
    agreeing = ((table**2).sum(1) - raters) / (raters * (raters - 1))
    shares = table.sum(0) / table.sum()
    return _correct_for_chance(float(agreeing.mean()), float(shares @ shares))


def _count_kinds(number: np.ndarray) -> Floats:
    kinds = int(number.max()) + 1
    return np.stack([(number == kind).sum(1) for kind in range(kinds)], axis=1).astype(np.float64)


def _correct_for_chance(observed: float, expected: float) -> float:
    if expected >= 1 - 1e-12:
        raise StatisticsError("All verdicts are the same: agreement beyond chance can't be told")
    return (observed - expected) / (1 - expected)


def _as_list(labels: Labels) -> list[Hashable]:
    return labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
