"""Means of clustered values against scipy, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mira_batch.evaluate.statistics import (
    StatisticsError,
    bootstrap_mean,
    find_clustered_error,
    find_sign_flip_p,
    find_smallest_difference,
)
from mira_batch.evaluate.statistics.clusters import DRAWS

Z = 1.959963984540054
RNG = np.random.default_rng(7)
SCORES = RNG.normal(7, 2, 400)
ALONE = np.arange(400)
FOURS = ALONE // 4


def test_alone_a_value_is_its_own_cluster() -> None:
    assert find_clustered_error(SCORES, ALONE) == pytest.approx(stats.sem(SCORES))
    found = bootstrap_mean(SCORES, ALONE, seed=1, draws=20_000)
    assert found.value == pytest.approx(SCORES.mean())
    assert (found.items, found.clusters) == (400, 400)
    expected = stats.bootstrap(
        (SCORES,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    )
    limits = expected.confidence_interval
    assert (found.interval.low, found.interval.high) == pytest.approx((limits.low, limits.high), abs=0.015)


def test_few_clusters_widen_the_interval_as_students_t_does() -> None:
    values = np.array([1.0, 4, 2, 8, 5, 7])
    found = bootstrap_mean(values, range(6), seed=1, draws=40_000)
    reach = stats.t.ppf(0.975, 5) * stats.sem(values)
    assert found.interval.width == pytest.approx(2 * reach, rel=0.15)
    plain = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert found.interval.width > 1.25 * np.ptp(plain.confidence_interval)


def test_copies_in_a_cluster_are_no_new_knowledge() -> None:
    values, clusters = np.repeat(SCORES[:100], 4), np.repeat(ALONE[:100], 4)
    assert find_clustered_error(values, clusters) == pytest.approx(stats.sem(SCORES[:100]))
    assert find_clustered_error(values, np.arange(400)) == pytest.approx(
        stats.sem(SCORES[:100]) / 2, rel=0.01
    )
    one, other = (bootstrap_mean(v, c, seed=5) for v, c in ((values, clusters), (SCORES[:100], ALONE[:100])))
    assert (one.interval, one.clusters) == (other.interval, other.clusters)


def test_an_error_by_hand() -> None:
    # mean 3; clusters are off by (1-3) + (2-3) = -3 and (3-3) + (6-3) = 3: sqrt(2/1 * (9 + 9)) / 4
    assert find_clustered_error([1, 2, 3, 6], "aabb") == pytest.approx(6 / 4)
    # macro of x: mean 2, and y: mean 4. a: (-1/2 + -2/2) / 2, b: the opposite
    assert find_clustered_error([1, 2, 3, 6], "aabb", groups="xyxy") == pytest.approx(
        math.sqrt(2 * 2 * 0.75**2)
    )


def test_a_macro_mean_weighs_groups_alike() -> None:
    groups = ["rare"] * 40 + ["common"] * 360
    found = bootstrap_mean(SCORES, FOURS, seed=3, groups=groups)
    macro = (SCORES[:40].mean() + SCORES[40:].mean()) / 2
    assert found.value == pytest.approx(macro)
    error = math.sqrt(find_clustered_error(SCORES[:40], FOURS[:40]) ** 2 / 4 + SCORES[40:].var() / 360 / 4)
    assert find_clustered_error(SCORES, FOURS, groups=groups) == pytest.approx(error, rel=0.1)
    assert found.interval.width == pytest.approx(2 * Z * error, rel=0.15)
    assert find_clustered_error(SCORES, FOURS) < 0.8 * error


def test_a_group_that_replicates_would_lack_is_refused() -> None:
    with pytest.raises(StatisticsError, match="Group tiny comes from 1 clusters only"):
        bootstrap_mean(SCORES, FOURS, seed=1, groups=["tiny"] * 3 + ["large"] * 397)


def test_all_sign_flips_of_few_clusters_are_gone_through() -> None:
    values = np.array([0.5, -0.2, 0.9, 0.3, 0.1, 0.4])
    flips = np.array(list(itertools.product((1, -1), repeat=6))) @ values
    expected = np.mean(np.abs(flips) >= abs(values.sum()) - 1e-9)
    assert find_sign_flip_p(values, range(6), seed=0) == expected
    by_scipy = stats.permutation_test(
        (values, np.zeros(6)),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=math.inf,
    )
    assert by_scipy.pvalue == pytest.approx(expected)
    split = np.concatenate([values - 5, np.full(6, 5.0)])  # the same by cluster
    assert find_sign_flip_p(split, [*range(6)] * 2, seed=0) == expected


def test_sign_flips_of_many_clusters_are_drawn() -> None:
    shifted = SCORES - SCORES.mean() + 0.17
    found = find_sign_flip_p(shifted, ALONE, seed=1)
    assert found == pytest.approx(stats.ttest_1samp(shifted, 0).pvalue, abs=0.012)
    assert found == find_sign_flip_p(shifted, ALONE, seed=1)
    assert found != find_sign_flip_p(shifted, ALONE, seed=2)
    assert find_sign_flip_p(shifted, FOURS, seed=1, groups=["x", "y"] * 200) == pytest.approx(
        find_sign_flip_p(shifted, FOURS, seed=1), abs=0.01
    )
    assert find_sign_flip_p(SCORES, ALONE, seed=1) == 1 / (DRAWS + 1), "never 0"
    assert find_sign_flip_p(np.zeros(400), ALONE, seed=1) == 1


def test_the_smallest_difference_is_seen_as_often_as_it_says() -> None:
    assert find_smallest_difference(SCORES, ALONE) == pytest.approx(2.8016 * stats.sem(SCORES), rel=1e-4)
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (2000, 60))
    smallest = 2.8016 / math.sqrt(60)
    seen = np.mean(
        [find_sign_flip_p(row + smallest, range(60), seed=4, draws=399) <= 0.05 for row in noise[:600]]
    )
    assert 0.75 < seen < 0.85
    found = [find_smallest_difference(row, range(60)) for row in noise]
    assert np.mean(found) == pytest.approx(smallest, rel=0.02)
    assert find_smallest_difference(SCORES, ALONE, power=0.9) > find_smallest_difference(SCORES, ALONE)


def test_the_same_seed_gives_the_same_interval() -> None:
    one, again, other = (bootstrap_mean(SCORES, FOURS, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_names_of_clusters_are_any_and_in_any_order() -> None:
    order = np.random.default_rng(0).permutation(400)
    names = [f"image {k}" for k in FOURS]
    assert find_clustered_error(SCORES[order], [names[k] for k in order]) == pytest.approx(
        find_clustered_error(SCORES, FOURS)
    )


@pytest.mark.parametrize(
    ("values", "clusters", "words"),
    [
        ([], [], "There is no value"),
        ([1, math.nan], "ab", "1 of 2 values are NaN"),
        ([1, None], "ab", "1 of 2 values are NaN"),
        ([1, math.inf], "ab", "NaN or infinite"),
        (["good", "bad"], "ab", "is no number"),
        ([[1, 2]], "ab", "2 axes"),
        ([1, 2], "aa", "one cluster"),
        ([1, 2], "abc", "3 clusters for 2 values"),
        ([1, 2], ["a", None], "Item 1 has no cluster"),
    ],
)
def test_what_says_nothing_is_refused(values: list, clusters: str, words: str) -> None:
    calls = (
        lambda: bootstrap_mean(values, clusters, seed=0),
        lambda: find_sign_flip_p(values, clusters, seed=0),
        lambda: find_clustered_error(values, clusters),
        lambda: find_smallest_difference(values, clusters),
    )
    for call in calls:
        with pytest.raises(StatisticsError, match=words):
            call()


def test_what_does_not_scatter_has_no_smallest_difference() -> None:
    with pytest.raises(StatisticsError, match="the same"):
        find_smallest_difference([0, 0, 0], "abc")
    assert bootstrap_mean([2] * 6, "abcdef", seed=0).interval.width == 0


def test_many_thousands_of_clusters_are_drawn_in_bundles() -> None:
    """In seconds, and as wide as the error says; more than one value of a cluster stays together."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(40_000), 2)
    values = rng.gamma(2, 1, 40_000)[clusters]
    found = bootstrap_mean(values, clusters, seed=1, draws=2_000)
    assert found.value == pytest.approx(values.mean()) and found.clusters == 40_000
    assert found.interval.width == pytest.approx(2 * Z * find_clustered_error(values, clusters), rel=0.06)
    even = find_sign_flip_p(values - values.mean(), clusters, seed=1, draws=2_000)
    off = values - values.mean() + 2.5 * find_clustered_error(values, clusters)
    assert even > 0.9 and find_sign_flip_p(off, clusters, seed=1, draws=2_000) == pytest.approx(
        0.012, abs=0.01
    )


def test_clusters_by_number_and_by_name_are_the_same() -> None:
    numbers = np.array([7, 3, 7, 5, 3, 9, 1, 2])
    one, other = (bootstrap_mean(SCORES[:8], c, seed=4) for c in (numbers, [f"n{k}" for k in numbers]))
    assert one == other


def test_an_interval_takes_clusters_enough_for_its_confidence() -> None:
    """Even their whole range misses the middle where all lie on one side: with a chance of 2 / 2^C."""
    values = [0.1, 0.5, 0.2, 0.9, 0.4, 0.3]
    assert bootstrap_mean(values, "abcdef", seed=1).clusters == 6
    assert bootstrap_mean(values[:5], "abcde", seed=1, confidence=0.9).clusters == 5
    for count, confidence in ((5, 0.95), (2, 0.95), (4, 0.9), (6, 0.99)):
        with pytest.raises(StatisticsError, match=f"come from {count} clusters: an interval of"):
            bootstrap_mean(values[:count], "abcdef"[:count], seed=1, confidence=confidence)
