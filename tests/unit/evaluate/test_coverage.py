"""Intervals of 95 % cover what they should in 93 to 97 of 100 made-up worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from mira_batch.evaluate.calibration import estimate_pass_rate
from mira_batch.evaluate.preferences import estimate_share
from mira_batch.evaluate.statistics import (
    Interval,
    StatisticsError,
    bootstrap_mean,
    find_exact_interval,
    find_sign_flip_p,
    find_wilson_interval,
    measure_self_agreement,
)

WORLDS = 2000
DRAWS = 599


def make_clusters(rng: np.random.Generator, count: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which those of one source image are alike, with mean 0, and their clusters."""
    clusters = np.repeat(np.arange(count), rng.integers(1, largest + 1, count))
    of_image = rng.gamma(2, 1, count) - 2  # skewed, as scores are
    return of_image[clusters] + rng.normal(0, 1, len(clusters)), clusters


@pytest.mark.parametrize(("count", "largest"), [(20, 3), (60, 6)])
def test_the_cluster_bootstrap(count: int, largest: int) -> None:
    rng = np.random.default_rng(count)
    covered = alone = 0
    for seed in range(WORLDS):
        values, clusters = make_clusters(rng, count, largest)
        covered += bootstrap_mean(values, clusters, seed=seed, draws=DRAWS).interval.covers(0)
        if largest == 6 and seed < 100:
            plain = bootstrap_mean(values, np.arange(len(values)), seed=seed, draws=DRAWS)
            alone += plain.interval.covers(0)
    assert 0.93 <= covered / WORLDS <= 0.97
    assert alone / 100 < 0.85, "as if each were for itself it is too narrow"


def test_the_cluster_bootstrap_of_a_macro_mean() -> None:
    rng = np.random.default_rng(1)
    groups = np.array([0] * 60 + [1] * 20 + [2] * 40)
    covered = 0
    for seed in range(WORLDS):
        of_image = rng.normal(0, 1, 40)
        clusters = rng.permutation(np.arange(120) % 40)
        values = of_image[clusters] + rng.normal(0, 1, 120) + np.array([-1, 5, 2])[groups]
        found = bootstrap_mean(values, clusters, seed=seed, groups=groups, draws=DRAWS)
        covered += found.interval.covers(2)
    assert 0.93 <= covered / WORLDS <= 0.97


def test_the_sign_flip_test_raises_few_false_alarms() -> None:
    rng = np.random.default_rng(2)
    found = []
    for seed in range(WORLDS):
        clusters = np.repeat(np.arange(30), 4)
        values = rng.normal(0, 1, 30)[clusters] + rng.normal(0, 1, 120)
        found.append(find_sign_flip_p(values, clusters, seed=seed, draws=DRAWS))
    assert 0.035 <= np.mean(np.array(found) <= 0.05) <= 0.065
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("seen", "rate"), [(50, 0.5), (100, 0.2), (300, 0.9), (606, 0.03)])
def test_intervals_of_rates(seen: int, rate: float) -> None:
    hits = np.random.default_rng(seen).binomial(seen, rate, WORLDS).tolist()

    def cover(find: Callable[[int, int], Interval]) -> float:
        find = cache(find)
        return float(np.mean([find(k, seen).covers(rate) for k in hits]))

    assert 0.93 <= cover(find_wilson_interval) <= 0.97
    assert cover(find_exact_interval) >= 0.94  # at least 0.95, but for the chance of 2,000 worlds


@pytest.mark.parametrize(
    ("decisions", "rate", "noise"), [(100, 0.5, 1.0), (100, 0.85, 3.0), (300, 0.95, 1.0)]
)
def test_the_prediction_powered_pass_rate(decisions: int, rate: float, noise: float) -> None:
    """Of a judge that is biased, and knows much or little."""
    rng = np.random.default_rng(decisions)
    covered, narrower, refused = [], [], 0
    for _ in range(WORLDS):
        good = rng.random(decisions + 2000) < rate
        scores = 1 / (1 + np.exp(-1 - np.where(good, 1.5, -1.5) - rng.normal(0, noise, len(good))))
        try:
            found = estimate_pass_rate(scores[:decisions], good[:decisions], scores[decisions:])
        except StatisticsError:
            refused += 1
            continue
        covered.append(found.interval.covers(rate))
        narrower.append(found.interval.width / found.decided_alone.width)
    assert refused <= 0.01 * WORLDS
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(narrower) < (0.8 if noise == 1 else 1)


@pytest.mark.parametrize(("originals", "each", "tie"), [(25, 1, 0.0), (40, 3, 0.2)])
def test_the_share_of_pairs_in_which_one_is_preferred(originals: int, each: int, tie: float) -> None:
    """Pairs of one original are alike; a tie counts half."""
    rng = np.random.default_rng(originals)
    clusters, covered = np.repeat(np.arange(originals), each), 0
    for _ in range(WORLDS):
        taste = rng.beta(6, 4, originals)[clusters]
        verdicts = np.where(rng.random(len(clusters)) < tie, 0.5, rng.random(len(clusters)) < taste)
        found = estimate_share(verdicts, clusters, draws=DRAWS)
        covered += found.interval.covers(0.6 * (1 - tie) + tie / 2)
    assert 0.93 <= covered / WORLDS <= 0.97


@pytest.mark.parametrize(("items", "repeats", "icc"), [(16, 2, 0.9), (30, 4, 0.5)])
def test_the_self_agreement(items: int, repeats: int, icc: float) -> None:
    rng = np.random.default_rng(items)
    covered = 0
    for _ in range(WORLDS):
        of_item = rng.normal(0, np.sqrt(icc), items)[:, None]
        scores = of_item + rng.normal(0, np.sqrt(1 - icc), (items, repeats))
        covered += measure_self_agreement(scores).interval.covers(icc)
    assert 0.93 <= covered / WORLDS <= 0.97
