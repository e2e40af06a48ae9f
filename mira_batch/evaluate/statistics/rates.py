"""What counts say of a rate: Wilson's interval, the exact one, and exact McNemar for two runs.

All take records as independent. Where several come from one source image, the clustered functions of
`clusters.py` on values of 0 and 1 are right instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from mira_batch.evaluate.statistics.checks import Interval, StatisticsError, check_share
from mira_batch.evaluate.statistics.special import find_beta_quantile, find_binomial_tail


def find_wilson_interval(hits: int, seen: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a rate (JASA 22, 1927), without continuity correction.

        (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    Its coverage is about the nominal one, for some rates a little less.

    Args:
        hits: records that have the property.
        seen: records looked at.
        confidence: two-sided, 0 to 1.

    Raises:
        StatisticsError: nothing was seen, or the counts make no sense.
    """
    _check_counts(hits, seen)
    z = NormalDist().inv_cdf(1 - (1 - check_share(confidence, "The confidence")) / 2)
    rate, square = hits / seen, z * z / seen
    centre = rate + square / 2
    reach = z * math.sqrt(rate * (1 - rate) / seen + square / (4 * seen))
    low, high = (centre - reach) / (1 + square), (centre + reach) / (1 + square)
    return Interval(0.0 if hits == 0 else low, 1.0 if hits == seen else high)


def find_exact_interval(hits: int, seen: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a rate, by quantiles of the beta distribution.

    It is that of Clopper and Pearson (Biometrika 26, 1934). Its coverage is never less than the nominal one.

    Args:
        hits: records that have the property.
        seen: records looked at.
        confidence: two-sided, 0 to 1.

    Raises:
        StatisticsError: nothing was seen, or the counts make no sense.
    """
    _check_counts(hits, seen)
    side = (1 - check_share(confidence, "The confidence")) / 2
    low = find_beta_quantile(hits, seen - hits + 1, side) if hits else 0.0
    return Interval(low, find_exact_bound(hits, seen, 1 - side))


def find_exact_bound(hits: int, seen: int, confidence: float = 0.95) -> float:
    """The largest rate that so few hits don't rule out: Clopper and Pearson's one-sided upper bound. It is
    the bound that the page of reviews shows.

    Args:
        hits: records that have the property.
        seen: records looked at.
        confidence: one-sided, 0 to 1.

    Raises:
        StatisticsError: nothing was seen, or the counts make no sense.
    """
    _check_counts(hits, seen)
    check_share(confidence, "The confidence")
    return find_beta_quantile(hits + 1, seen - hits, confidence) if hits < seen else 1.0


def _check_counts(hits: int, seen: int) -> None:
    if seen < 1:
        raise StatisticsError("Nothing was seen: a rate can't be told")
    if not 0 <= hits <= seen:
        raise StatisticsError(f"{hits} of {seen}: a count must be between 0 and what was seen")


@dataclass(frozen=True, slots=True)
class Discordance:
    """On how many records just one of two runs has a property, and what that says."""

    only_a: int
    only_b: int
    p: float
    """Two-sided; 1 where they never differ."""


def compare_flags(a: ArrayLike, b: ArrayLike) -> Discordance:
    """Exact McNemar test: whether two runs have a property, such as failed, equally often.

    Of the records on which they differ each is A's with chance 1/2 if they are alike, so
    p = min(1, 2 P(X <= min(only_a, only_b))), X binomial(only_a + only_b, 1/2). Records are taken as
    independent.

    Args:
        a, b: whether A and B have it, booleans of shape [records], the same records in the same order.

    Raises:
        StatisticsError: there are none, not equally many, or they are no booleans.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.dtype != bool or other.dtype != bool:
        raise StatisticsError("Flags must be booleans: leave out records of which nothing is known")
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise StatisticsError(
            f"Flags of shape {one.shape} and {other.shape}: the same records are needed, one at least"
        )
    only_a, only_b = int(np.count_nonzero(one & ~other)), int(np.count_nonzero(other & ~one))
    tail = find_binomial_tail(min(only_a, only_b), only_a + only_b, 0.5)
    return Discordance(only_a, only_b, min(1.0, 2 * tail))
