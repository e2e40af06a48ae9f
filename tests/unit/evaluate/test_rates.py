"""Distributions and intervals of rates against scipy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from mira_batch.evaluate.statistics import (
    Interval,
    StatisticsError,
    compare_flags,
    find_binomial_tail,
    find_exact_bound,
    find_exact_interval,
    find_wilson_interval,
)
from mira_batch.evaluate.statistics.special import (
    find_beta_quantile,
    find_f_quantile,
    find_t_quantile,
    integrate_beta,
)

COUNTS = [(0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (17, 299), (1, 10_000), (4_321, 10_000)]


def test_the_incomplete_beta_function_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    for a, b in 10 ** rng.uniform(-1, 5, (500, 2)):
        for x in (rng.random(), rng.beta(a, b)):
            expected = special.betainc(a, b, x)
            assert integrate_beta(a, b, x) == pytest.approx(expected, rel=1e-8, abs=1e-15)
    assert integrate_beta(2, 3, 0) == 0 and integrate_beta(2, 3, 1) == 1


def test_quantiles_are_those_of_scipy() -> None:
    for share in (0.001, 0.025, 0.4, 0.5, 0.975, 0.9999):
        for degrees in (1, 2, 9, 302, 1e6):
            expected = stats.t.ppf(share, degrees)
            assert find_t_quantile(share, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-9)
            expected = stats.f.ppf(share, degrees, 40)
            assert find_f_quantile(share, degrees, 40) == pytest.approx(expected, rel=1e-7)
        for a, b in ((1, 1), (0.5, 30), (2000, 3)):
            assert find_beta_quantile(a, b, share) == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-8)
    assert find_t_quantile(0.975, 1e9) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("hits", "seen"), COUNTS)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_intervals_of_rates_are_those_of_scipy(hits: int, seen: int, confidence: float) -> None:
    test = stats.binomtest(hits, seen)
    for find, method in ((find_wilson_interval, "wilson"), (find_exact_interval, "exact")):
        expected = test.proportion_ci(confidence, method)
        found = find(hits, seen, confidence)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-8, abs=1e-12)
        assert found.covers(hits / seen)
    one_sided = stats.binomtest(hits, seen, alternative="less").proportion_ci(confidence, "exact")
    assert find_exact_bound(hits, seen, confidence) == pytest.approx(one_sided.high, rel=1e-8)


def test_intervals_by_hand() -> None:
    assert find_exact_bound(0, 299) == pytest.approx(
        1 - 0.05 ** (1 / 299), rel=1e-9
    )  # as the page of reviews
    z = 1.959963984540054
    assert find_wilson_interval(0, 10).high == pytest.approx(z**2 / (10 + z**2), rel=1e-9)
    assert find_wilson_interval(0, 10).low == 0 and find_wilson_interval(10, 10).high == 1
    assert Interval(0.25, 0.75).width == 0.5 and not Interval(0.25, 0.75).covers(0.8)


def test_a_binomial_tail() -> None:
    for most, trials, chance in ((-1, 5, 0.3), (0, 5, 0.3), (3, 5, 0.3), (5, 5, 0.3), (31, 2000, 0.02)):
        expected = stats.binom.cdf(most, trials, chance)
        assert find_binomial_tail(most, trials, chance) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("find", [find_wilson_interval, find_exact_interval, find_exact_bound])
def test_counts_that_say_nothing_are_refused(find) -> None:
    for hits, seen in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(StatisticsError, match="Nothing was seen|a count must be"):
            find(hits, seen)
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(StatisticsError, match="between 0 and 1"):
            find(1, 2, confidence)


def test_mcnemar_is_exact() -> None:
    a = np.array([True] * 9 + [False] * 2 + [True] * 5 + [False] * 84)
    b = np.array([False] * 9 + [True] * 2 + [True] * 5 + [False] * 84)
    found = compare_flags(a, b)
    assert (found.only_a, found.only_b) == (9, 2)
    assert found.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)  # by hand: 0, 1 or 2 heads of 11, twice
    assert found.p == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert compare_flags(b, a).p == found.p
    assert compare_flags(a, a).p == 1
    assert compare_flags([True, False], [False, True]).p == 1


def test_mcnemar_refuses_what_is_unknown() -> None:
    for a, b in (([], []), ([True], [True, False]), ([1, 0], [0, 1]), ([True, None], [True, False])):
        with pytest.raises(StatisticsError):
            compare_flags(a, b)
