"""What decisions say of scores: by hand, and in worlds whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mira_batch.evaluate.calibration import (
    LEAST_DECISIONS,
    estimate_pass_rate,
    find_acceptance,
    measure_agreement,
)
from mira_batch.evaluate.statistics import StatisticsError, find_binomial_tail, find_wilson_interval

RNG = np.random.default_rng(4)


def test_agreement_by_hand() -> None:
    scores = np.array([0.9] * 40 + [0.8] * 5 + [0.2] * 8 + [0.3] * 7)
    good = np.array([True] * 40 + [False] * 5 + [True] * 8 + [False] * 7)
    found = measure_agreement(scores, good, 0.5)
    assert (found.accepted_good, found.accepted_bad, found.rejected_good, found.rejected_bad) == (40, 5, 8, 7)
    assert found.rate == 47 / 60 and found.interval == find_wilson_interval(47, 60)
    expected = (45 * 48 + 15 * 12) / 60**2
    assert found.kappa == pytest.approx((47 / 60 - expected) / (1 - expected))
    assert found.ranking == pytest.approx(40 * 12 / (48 * 12))
    ranks = stats.mannwhitneyu(scores[good], scores[~good]).statistic
    assert found.ranking == pytest.approx(ranks / (48 * 12))
    assert measure_agreement(scores, good, 0.0).kappa == 0
    assert measure_agreement(np.full(60, 0.7), good, 0.5).ranking == 0.5, "ties count half"


def make_results(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores in steps of 0.01, and the chance that each is bad: the more so the lower the score."""
    scores = np.round(RNG.random(count), 2)
    return scores, 0.3 * (1 - scores) ** 2


def test_a_threshold_is_the_last_of_the_sequence_that_passes() -> None:
    scores, risk = make_results(3000)
    good = RNG.random(3000) >= risk
    found = find_acceptance(scores[:300], good[:300], scores, 0.05)
    *passed, last = found.trials
    assert found.threshold is not None and found.threshold == passed[-1].threshold
    assert all(trial.p <= 0.05 for trial in passed) and last.p > 0.05
    assert found.share == np.mean(scores >= found.threshold)
    assert [trial.share for trial in found.trials] == sorted(trial.share for trial in found.trials)
    for trial in found.trials:
        accepted = scores[:300] >= trial.threshold
        assert (trial.decided, trial.bad) == (accepted.sum(), (accepted & ~good[:300]).sum())
        assert trial.p == pytest.approx(stats.binom.cdf(trial.bad, trial.decided, 0.05))


def test_the_sequence_does_not_depend_on_decisions() -> None:
    scores, risk = make_results(1000)
    one = find_acceptance(scores[:300], RNG.random(300) >= risk[:300], scores, 0.05)
    other = find_acceptance(scores[:300], np.full(300, True), scores, 0.05)
    assert other.share == 1 and other.threshold == scores.min()
    both = zip(one.trials, other.trials, strict=False)
    assert all((a.threshold, a.decided) == (b.threshold, b.decided) for a, b in both)
    none = find_acceptance(scores[:300], np.full(300, False), scores, 0.05)
    assert (none.threshold, none.share, len(none.trials)) == (None, 0, 1)


@pytest.mark.parametrize("knows", [True, False])
def test_a_promise_is_broken_in_less_than_5_of_100_worlds(knows: bool) -> None:
    """Against the true shares. A judge that knows nothing accepts 5.05 % bad ones at any threshold. To take
    the lowest threshold whose own test passes breaks the promise far more often."""
    rng = np.random.default_rng(9)
    broken = greedy = 0
    worlds = 600
    scores = np.arange(3000) % 100 / 100
    risk = 0.3 * (1 - scores) ** 2 if knows else np.full(3000, 0.0505)
    for _ in range(worlds):
        drawn = rng.choice(3000, 300, replace=False)
        good = rng.random(300) >= risk[drawn]
        found = find_acceptance(scores[drawn], good, scores, 0.05)
        if found.threshold is not None:
            broken += risk[scores >= found.threshold].mean() > 0.05
        for threshold in np.arange(0, 1, 0.04):
            accepted = scores[drawn] >= threshold
            if find_binomial_tail(int((accepted & ~good).sum()), int(accepted.sum()), 0.05) <= 0.05:
                greedy += risk[scores >= threshold].mean() > 0.05
                break
    assert broken / worlds <= 0.05
    assert knows or greedy / worlds > 0.1


def test_a_good_judge_gets_a_threshold() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(100):
        scores = np.round(rng.random(3000), 2)
        good = rng.random(3000) >= np.where(scores < 0.3, 0.6, 0.005)
        shares.append(find_acceptance(scores[:300], good[:300], scores, 0.05).share)
    assert np.mean(np.array(shares) > 0) > 0.75
    assert np.median(shares) == pytest.approx(0.7, abs=0.07), "all above 0.3 can be taken"


def test_too_few_decisions_promise_nothing() -> None:
    scores, good = np.linspace(0, 1, 148), np.full(148, True)
    with pytest.raises(StatisticsError, match="148 decisions: .* at most 2 % bad .* takes 149 at least"):
        find_acceptance(scores, good, scores, 0.02)
    scores, good = np.linspace(0, 1, 149), np.full(149, True)
    assert find_acceptance(scores, good, scores, 0.02).share == 1
    with pytest.raises(StatisticsError, match="149 decisions on 100 results"):
        find_acceptance(scores, good, scores[:100], 0.02)
    for most_bad in (0, 1, 5):
        with pytest.raises(StatisticsError, match="share of bad ones"):
            find_acceptance(scores, good, scores, most_bad)


def test_a_pass_rate_by_hand() -> None:
    """All that is known where a judge knows all, and the sample's own rate where it knows nothing."""
    scores, good = np.tile([0.0, 1.0], 50), np.tile([False, True], 50)
    others = np.tile([0.0, 1.0], 50_000)
    found = estimate_pass_rate(scores, good, others)
    assert (found.weight, found.value) == pytest.approx((1, 0.5), abs=0.01)
    assert found.interval.width == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(100_100), rel=0.06)
    unknowing = estimate_pass_rate(np.full(100, 0.4), good, np.full(500, 0.4))
    assert (unknowing.weight, unknowing.value) == (0, 0.5)
    assert unknowing.interval.width == pytest.approx(unknowing.decided_alone.width, rel=0.02)
    assert (unknowing.decisions, unknowing.others) == (100, 500)


def test_a_pass_rate_does_not_depend_on_the_unit_of_scores() -> None:
    good = RNG.random(1200) < 0.8
    scores = np.where(good, 0.7, 0.4) + RNG.normal(0, 0.1, 1200)
    one = estimate_pass_rate(scores[:200], good[:200], scores[200:])
    for unit in (10, 0.1, -3):
        other = estimate_pass_rate(scores[:200] * unit + 5, good[:200], scores[200:] * unit + 5)
        assert other.value == pytest.approx(one.value)
        assert other.interval.width == pytest.approx(one.interval.width)


def test_a_pass_rate_by_the_papers_formula() -> None:
    good = RNG.random(200) < 0.8
    scores = np.where(good, 0.7, 0.4) + RNG.normal(0, 0.1, 200)
    others = RNG.normal(0.65, 0.15, 1000)
    found = estimate_pass_rate(scores, good, others)
    every = np.concatenate([scores, others])
    weight = np.cov(good, scores)[0, 1] / (1.2 * np.var(every, ddof=1))
    assert found.weight == pytest.approx(weight)
    value = found.weight * others.mean() + (good - found.weight * scores).mean()
    assert found.value == pytest.approx(value)
    error = math.sqrt(
        np.var(good - found.weight * scores, ddof=1) / 200 + found.weight**2 * np.var(others, ddof=1) / 1000
    )
    assert found.interval.width == pytest.approx(2 * 1.96 * error, rel=0.03)


def test_an_estimate_next_to_0_or_1_has_an_interval() -> None:
    """Its log-odds lie too far out for a plain exponential."""
    good = np.arange(60) < 6
    scores = np.where(good, 0.9, 0.1) + np.tile([-0.05, 0.05], 30)
    low, high, rate = -1.0, float(scores.mean()), 1.0  # of the other scores: an estimate below 0, and above
    while rate > 1e-6:
        try:
            middle = (low + high) / 2
            rate, high = estimate_pass_rate(scores, good, np.full(1000, middle)).value, middle
        except StatisticsError:
            low = middle
    for taken, expected in ((good, rate), (~good, 1 - rate)):
        found = estimate_pass_rate(scores, taken, np.full(1000, high))
        assert found.value == pytest.approx(expected, abs=1e-12)
        assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_a_judges_bias_is_measured_and_taken_off() -> None:
    good = RNG.random(3300) < 0.7
    scores = np.clip(np.where(good, 0.95, 0.75) + RNG.normal(0, 0.05, 3300), 0, 1)  # it likes all
    found = estimate_pass_rate(scores[:300], good[:300], scores[300:])
    assert scores.mean() > 0.85
    assert found.interval.covers(0.7) and found.interval.width < 0.75 * found.decided_alone.width


@pytest.mark.parametrize("good", [49, [True] * 55 + [False] * 4, [True] * 4 + [False] * 55])
def test_what_too_few_decisions_say_is_refused(good: int | list[bool]) -> None:
    taken = np.arange(good) % 2 == 0 if isinstance(good, int) else np.array(good)
    scores = np.linspace(0, 1, len(taken))
    words = f"{LEAST_DECISIONS} at least" if isinstance(good, int) else "5 of each"
    with pytest.raises(StatisticsError, match=words):
        measure_agreement(scores, taken, 0.5)
    with pytest.raises(StatisticsError, match=words):
        estimate_pass_rate(scores, taken, scores)
    if isinstance(good, int):
        with pytest.raises(StatisticsError, match=words):
            find_acceptance(scores, taken, scores, 0.2)


def test_scores_and_decisions_that_do_not_fit_are_refused() -> None:
    scores, good = np.linspace(0, 1, 60), np.arange(60) % 2 == 0
    holes = np.where(scores > 0.9, math.nan, scores)
    for these, those in ((holes, good), (scores[:59], good), (scores, good.astype(float)), ([], [])):
        for call in (
            lambda: measure_agreement(these, those, 0.5),  # noqa: B023
            lambda: find_acceptance(these, those, scores, 0.2),  # noqa: B023
            lambda: estimate_pass_rate(these, those, scores),  # noqa: B023
        ):
            with pytest.raises(StatisticsError):
                call()
    with pytest.raises(StatisticsError, match="not alike"):
        estimate_pass_rate(good * 1.0, good, np.tile([5.0, 6.0], 5000))
    with pytest.raises(StatisticsError, match="NaN"):
        estimate_pass_rate(scores, good, holes)
