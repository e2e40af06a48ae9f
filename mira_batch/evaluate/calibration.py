"""What a person's decisions say of a judge's scores, and of all results that it scored.

Three questions: how far judge and person agree, from which score results may be accepted unseen, and how many
of all results are good. For each the decisions must be a simple random sample of the scored results, made
without a look at the scores. Those of a queue that shows doubtful results first are none: they answer no
question here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mira_batch.evaluate.statistics import (
    Floats,
    Interval,
    StatisticsError,
    check_share,
    find_binomial_tail,
    find_cohen_kappa,
    find_wilson_interval,
    read_values,
)

LEAST_DECISIONS = 50
"""Fewer tell too little: the half width of a rate's interval would be up to 14 points or more."""
LEAST_OF_EACH = 5
"""Good and bad ones, for what rests on both."""
STEPS = 50
"""Thresholds that are tried at most."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge against a person, at one threshold: results of at least that score count as accepted."""

    accepted_good: int
    accepted_bad: int
    rejected_good: int
    rejected_bad: int
    rate: float
    """Share of decisions on which they agree."""
    interval: Interval
    """Wilson's, of the rate; it takes decisions as independent."""
    kappa: float | None
    """Cohen's; None where both say the same of all."""
    ranking: float
    """The chance that a good result scores higher than a bad one, ties half: the area under the ROC curve. It
    rests on no threshold."""


def measure_agreement(
    scores: ArrayLike, good: ArrayLike, threshold: float, confidence: float = 0.95
) -> Agreement:
    """How far a judge's scores agree with a person's decisions.

    Args:
        scores: of the decided results, shape [decisions].
        good: whether the person took each, booleans of shape [decisions].
        threshold: in the scores' unit.
        confidence: of the interval, two-sided, 0 to 1.

    Raises:
        StatisticsError: fewer than 50 decisions, or fewer than 5 of good or of bad ones; a score is NaN.
    """
    values, taken = _read_decisions(scores, good)
    _refuse_few_of_a_kind(taken)
    accepted = values >= threshold
    rate = float(np.mean(accepted == taken))
    try:
        kappa = find_cohen_kappa(accepted, taken)
    except StatisticsError:
        kappa = None
    return Agreement(
        accepted_good=int(np.count_nonzero(accepted & taken)),
        accepted_bad=int(np.count_nonzero(accepted & ~taken)),
        rejected_good=int(np.count_nonzero(~accepted & taken)),
        rejected_bad=int(np.count_nonzero(~accepted & ~taken)),
        rate=rate,
        interval=find_wilson_interval(int(np.count_nonzero(accepted == taken)), len(taken), confidence),
        kappa=kappa,
        ranking=_rank(values[taken], values[~taken]),
    )


def _rank(good: Floats, bad: Floats) -> float:
    """Mann and Whitney's U over all pairs."""
    ordered = np.sort(bad)
    below, up_to = (np.searchsorted(ordered, good, side=side) for side in ("left", "right"))
    return float(np.mean(below + up_to) / (2 * len(bad)))


@dataclass(frozen=True, slots=True)
class Trial:
    """One threshold that was tried."""

    threshold: float
    share: float
    """Of all scored results, those that it accepts."""
    decided: int
    """Decisions on such results."""
    bad: int
    """Of these, how many the person rejected."""
    p: float
    """The chance of so few bad ones, or fewer, were `most_bad` of the accepted ones bad."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """From which score results may be accepted unseen."""

    threshold: float | None
    """Of those that score as much or more at most `most_bad` are bad. None: no threshold can be promised."""
    share: float
    """Of all scored results, those that it accepts; 0 where there is no threshold."""
    most_bad: float
    confidence: float
    trials: tuple[Trial, ...]
    """In the order in which they were made. All but the last have passed; the last one, if none was left."""


def find_acceptance(
    scores: ArrayLike, good: ArrayLike, all_scores: ArrayLike, most_bad: float, confidence: float = 0.95
) -> Acceptance:
    """The lowest threshold at which, with this confidence, at most a given share of what is accepted is bad.

    Fixed-sequence testing, as in Learn then Test (Angelopoulos et al., arXiv 2110.01052): thresholds are
    tried from strict to lenient, each by the exact binomial test of "more than `most_bad` of the accepted
    ones are bad" at level 1 - confidence, and the first that doesn't pass ends it. To promise too much, the
    first threshold that is too lenient would have to pass. Which one that is doesn't depend on the decisions,
    so it happens with a chance of at most 1 - confidence, however many are tried and however the tests depend
    on each other: no correction is due.

    That holds since the sequence is fixed before any decision is looked at. It is made of `all_scores` and
    the number of decisions alone: up to 50 thresholds in equal steps of the share that they accept. The first
    is one at which one bad decision would still pass, or, where half of all decisions are too few for that,
    none.

    Args:
        scores: of the decided results, shape [decisions].
        good: whether the person took each, booleans of shape [decisions].
        all_scores: of all scored results, the decided ones among them, shape [results].
        most_bad: the share that may be bad, 0 to 1.
        confidence: 0 to 1.

    Returns:
        The threshold, or None where no threshold passes, and each trial.

    Raises:
        StatisticsError: fewer than 50 decisions, or so few that even none bad among them would promise
            nothing; more decisions than results; a score is NaN.
    """
    values, taken = _read_decisions(scores, good)
    population = np.sort(read_values(all_scores, "score"))
    check_share(confidence, "The confidence")
    if len(population) < len(values):
        raise StatisticsError(
            f"{len(values)} decisions on {len(population)} results: all results' scores are needed"
        )
    level = 1 - confidence
    start = _find_start(len(values), check_share(most_bad, "The share of bad ones"), level)
    best: Trial | None = None
    trials: list[Trial] = []
    for threshold in _list_thresholds(population, start):
        accepted = values >= threshold
        decided, bad = int(accepted.sum()), int(np.count_nonzero(accepted & ~taken))
        p = find_binomial_tail(bad, decided, most_bad) if decided else 1.0
        share = float(np.mean(population >= threshold))
        trials.append(Trial(float(threshold), share, decided, bad, p))
        if p > level:
            break
        best = trials[-1]
    threshold, share = (best.threshold, best.share) if best else (None, 0.0)
    return Acceptance(threshold, share, most_bad, confidence, tuple(trials))


def _find_start(decisions: int, most_bad: float, level: float) -> float:
    """The share of results that the first threshold accepts.

    Too strict, and its few decisions fail it by one bad one; too lenient, and it fails for what it accepts.
    Of the rules that were simulated none was the best one in all worlds.
    """
    fewest, one_bad = (_count_needed(bad, most_bad, level) for bad in (0, 1))
    if 2 * one_bad <= decisions:
        return one_bad / decisions
    if fewest <= decisions:
        scatter = math.sqrt(fewest * (1 - fewest / decisions))  # of how many decisions it accepts
        return min(1.0, (fewest + 2 * scatter) / decisions)
    raise StatisticsError(
        f"{decisions} decisions: to promise at most {100 * most_bad:g} % bad with {100 * (1 - level):g} % "
        f"confidence takes {fewest} at least, and none of them bad"
    )


def _count_needed(bad: int, most_bad: float, level: float) -> int:
    """The fewest decisions of which this many may be bad."""
    needed = max(bad + 1, math.ceil(math.log(level) / math.log1p(-most_bad)))
    while find_binomial_tail(bad, needed, most_bad) > level:
        needed += 1
    return needed


def _list_thresholds(population: Floats, start: float) -> Floats:
    """Scores of results, from strict to lenient, that accept from `start` to all of them."""
    shares = np.linspace(start, 1, STEPS)
    places = len(population) - np.ceil(shares * len(population) - 1e-9).astype(int)
    return np.unique(population[places])[::-1]


@dataclass(frozen=True, slots=True)
class PassRate:
    """How many of all results a person would take."""

    value: float
    interval: Interval
    weight: float
    """λ: how far the scores are relied on, in decisions by unit of score. 0 where they tell nothing."""
    decided_alone: Interval
    """Wilson's interval by the decisions alone: what the scores are worth is how much wider it is."""
    decisions: int
    others: int
    """Results of which only the score is known."""


def estimate_pass_rate(
    scores: ArrayLike, good: ArrayLike, other_scores: ArrayLike, confidence: float = 0.95
) -> PassRate:
    """The true pass rate, from decisions on some results and scores of all: prediction-powered inference with
    the weight that makes it narrowest (PPI++, Angelopoulos et al., arXiv 2311.01453).

        θ  = λ mean(f_others) + mean(y - λ f)
        λ  = cov(y, f) / ((1 + n/N) var(f))
        se² = var(y - λ f) / n + λ² var(f_others) / N

    A judge that is wrong in any way makes it wide, never wrong: what it is off by is measured on the decided
    results. The interval is taken on the scale of log-odds, log(θ / (1 - θ)) ± z se / (θ (1 - θ)): it stays
    within 0 and 1, and covers as promised for high pass rates, too, where the plain one doesn't.

    Args:
        scores: of the decided results, in any unit, shape [n]. The answer doesn't depend on the unit: λ is
            not cut to 0 .. 1, as the paper proposes.
        good: whether the person took each, booleans of shape [n].
        other_scores: of the results that nobody decided, shape [N].
        confidence: two-sided, 0 to 1.

    Raises:
        StatisticsError: fewer than 50 decisions, fewer than 5 good or bad ones, a score is NaN, or the
            estimate isn't between 0 and 1: scores of decided and of other results are not alike.
    """
    values, taken = _read_decisions(scores, good)
    others = np.asarray(other_scores, np.float64)
    check_share(confidence, "The confidence")
    _refuse_few_of_a_kind(taken)
    if others.size < 2:
        raise StatisticsError(
            "Two results at least of which only the score is known are needed. Where all are decided the "
            "rate is what the decisions say"
        )
    others = read_values(others, "score")
    y, n, rest = taken.astype(np.float64), len(values), len(others)
    spread = float(np.var(np.concatenate([values, others]), ddof=1))
    weight = float(np.cov(y, values)[0, 1]) / ((1 + n / rest) * spread) if spread else 0.0
    value = weight * float(others.mean()) + float(np.mean(y - weight * values))
    error = math.sqrt(
        float(np.var(y - weight * values, ddof=1)) / n + weight**2 * float(np.var(others, ddof=1)) / rest
    )
    if not 0 < value < 1:
        raise StatisticsError(
            f"The estimate is {value:.3f}: scores of decided and of other results are not alike. Decide "
            "on a simple random sample of them"
        )
    odds = math.log(value / (1 - value))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error / (value * (1 - value))
    low, high = (_find_share(side) for side in (odds - reach, odds + reach))
    alone = find_wilson_interval(int(taken.sum()), n, confidence)
    return PassRate(value, Interval(low, high), weight, alone, n, rest)


def _find_share(odds: float) -> float:
    """The share of these log-odds. Only exponents below 0 are raised: far from 0 the others overflow."""
    away = math.exp(-abs(odds))
    return (1.0 if odds >= 0 else away) / (1 + away)


def _read_decisions(scores: ArrayLike, good: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    taken = np.asarray(good)
    if taken.ndim == 1 and len(taken) < LEAST_DECISIONS:
        raise StatisticsError(
            f"{len(taken)} decisions: {LEAST_DECISIONS} at least are needed. Review more results"
        )
    values = read_values(scores, "score")
    if taken.dtype != bool or taken.shape != values.shape:
        raise StatisticsError(f"{len(values)} scores need as many decisions, each True or False")
    return values, taken


def _refuse_few_of_a_kind(taken: NDArray[np.bool_]) -> None:
    goods = int(taken.sum())
    if min(goods, len(taken) - goods) < LEAST_OF_EACH:
        raise StatisticsError(
            f"{goods} good and {len(taken) - goods} bad: {LEAST_OF_EACH} of each are needed. Review more "
            "results; what the decisions say of the rate by themselves is the exact interval"
        )
