"""The distributions that exact intervals need: binomial, Student's t and F, by the incomplete beta function.

numpy has none of them, and scipy is no dependency of this package. Checked against scipy in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_TERMS = 100_000
"""Enough for parameters of 10^9: some square root of the larger one is needed."""


def integrate_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b): chance that a beta variable is at most x.

    By the continued fraction DLMF 8.17.22, evaluated with Lentz's method, on the side where it converges.

    Args:
        a, b: parameters, above 0.
        x: 0 to 1.

    Raises:
        ArithmeticError: the fraction has not converged, for parameters beyond any count of records.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - integrate_beta(b, a, 1 - x)
    scale = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            return math.exp(scale) * fraction / a
    raise ArithmeticError(f"The incomplete beta function of {a}, {b} at {x} has not converged")


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def find_beta_quantile(a: float, b: float, share: float) -> float:
    """The x with I_x(a, b) = share, to the last digits.

    Args:
        a, b: parameters, above 0.
        share: 0 to 1.
    """
    return _bisect(lambda x: integrate_beta(a, b, x) < share)


def _bisect(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if is_below(middle):
            low = middle
        else:
            high = middle
    return high


def find_binomial_tail(most: int, trials: int, chance: float) -> float:
    """P(X <= most) of a binomial variable X.

    Args:
        most: up to how many.
        trials: how many are drawn.
        chance: of each, 0 to 1.
    """
    if most < 0 or most >= trials:
        return float(most >= trials)
    return integrate_beta(trials - most, most + 1, 1 - chance)


@lru_cache(maxsize=256)  # the rows of a table ask for the same few
def find_t_quantile(share: float, degrees: float) -> float:
    """Quantile of Student's t: I_x(degrees/2, 1/2) with x = degrees / (degrees + t^2) is its two-sided tail.

    Args:
        share: 0 to 1.
        degrees: of freedom.
    """
    if share < 0.5:
        return -find_t_quantile(1 - share, degrees)
    if degrees > 1e7:
        return NormalDist().inv_cdf(share)
    # 1 - x is found, not x: near t = 0 that is the small one of the two
    rest = find_beta_quantile(0.5, degrees / 2, 1 - 2 * (1 - share))
    return math.sqrt(degrees * rest / (1 - rest)) if rest < 1 else math.inf


@lru_cache(maxsize=256)
def find_f_quantile(share: float, upper: float, lower: float) -> float:
    """Quantile of Fisher's F.

    Args:
        share: 0 to 1.
        upper, lower: degrees of freedom of numerator and denominator.
    """
    x = find_beta_quantile(upper / 2, lower / 2, share)
    return lower * x / (upper * (1 - x)) if x < 1 else math.inf
