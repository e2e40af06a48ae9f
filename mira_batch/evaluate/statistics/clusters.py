"""Means of values that come in clusters: several records of one source image are no independent ones.

The mean is that of all items, or, with `groups`, the macro mean: the unweighted mean of the groups' means, as
benchmarks report it. Of a comparison the values are differences on the same records, B less A. Errors that
ignore clusters are too small by up to a factor of three (Miller, arXiv 2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

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
from mira_batch.evaluate.statistics.special import find_t_quantile

DRAWS = 10_000
"""Replicates of a bootstrap, flips of a test."""
_AT_ONCE = 1 << 21
"""Numbers that are drawn at once, so that memory doesn't grow with draws."""
_EMPTY = 0.01
"""Share of replicates that may lack a group."""
_MOST = 10_000
"""Clusters that are drawn each by itself; their numbers are drawn as 16 bits, which is the quickest."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval."""

    value: float
    interval: Interval
    items: int
    clusters: int


@dataclass(frozen=True)
class _Sums:
    """Values summed up by cluster and group."""

    totals: Floats
    """Sums of values, [clusters, groups]."""
    counts: Floats
    """Items, [clusters, groups]."""
    names: list[str]
    """Of the groups."""

    @property
    def value(self) -> float:
        return float(np.mean(self.totals.sum(0) / self.counts.sum(0)))

    @property
    def pulls(self) -> Floats:
        """How far each cluster pulls the mean, [clusters]: they sum up to 0; the error comes from them."""
        size = self.counts.sum(0)
        return ((self.totals - self.counts * (self.totals.sum(0) / size)) / size).mean(1)

    @property
    def parts(self) -> Floats:
        """What each cluster adds to the mean, [clusters]: they sum up to it."""
        return (self.totals / self.counts.sum(0)).mean(1)


def _sum_up(values: ArrayLike, clusters: Labels, groups: Labels | None) -> _Sums:
    array = read_values(values)
    which = number_labels(clusters, array.size, "cluster")
    count = int(which.max()) + 1
    if count < 2:
        raise StatisticsError(
            "All values come from one cluster: how far another source image would be off can't be told"
        )
    if groups is None:
        group, names = np.zeros(array.size, np.intp), ["all"]
    else:
        group = number_labels(groups, array.size, "group")
        names = [str(groups[place]) for place in np.unique(group, return_index=True)[1]]
    cell = which * len(names) + group
    totals, counts = (
        np.bincount(cell, weights, count * len(names)).reshape(count, len(names)).astype(np.float64)
        for weights in (array, None)
    )
    return _Sums(totals, counts, names)


def _bundle(sums: _Sums, rng: np.random.Generator) -> _Sums:
    """So many clusters that draws of all would take minutes, put together at random into 10,000 larger ones.
    These are independent of each other as clusters are, so what is said of them holds; widths scatter by less
    than 1 % for it."""
    count = len(sums.totals)
    if count <= _MOST:
        return sums
    which = rng.integers(_MOST, size=count)
    totals, counts = (
        np.stack([np.bincount(which, column, _MOST) for column in sides.T], axis=1).astype(np.float64)
        for sides in (sums.totals, sums.counts)
    )
    return _Sums(totals, counts, sums.names)


def bootstrap_mean(
    values: ArrayLike,
    clusters: Labels,
    *,
    seed: int,
    groups: Labels | None = None,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Estimate:
    """A mean, and its interval by the cluster bootstrap: clusters are drawn with replacement, as many as
    there are, each with all its items, and the mean is taken anew.

    The interval is the expanded percentile one (Hesterberg, arXiv 1411.5279): percentiles are those at which
    a normal distribution reaches as far as Student's t with C - 1 degrees of freedom times sqrt(C / (C - 1)).
    For many clusters C these are 2.5 and 97.5; with few the plain ones are too narrow. It stays within the
    range of the values. Of skewed scores in 12 to 60 clusters of unequal size, nominal 95 % covered about
    93 to 94 %. Where all values are the same it has no width: there is nothing from which to learn how they
    scatter. Of few clusters there is none: all C lie on one side of the middle with a chance of 2 / 2^C, and
    then even their whole range misses it. That is more than 5 % for 5 of them.
    More than 10,000 clusters are drawn in bundles.

    Args:
        values: shape [items], in any unit, none of them NaN.
        clusters: what each item's source image is, shape [items].
        seed: of the draws; the same seed gives the same interval.
        groups: where given, the macro mean of these is estimated, shape [items].
        confidence: two-sided, 0 to 1.
        draws: replicates.

    Raises:
        StatisticsError: no values, one is NaN, just one cluster, fewer than the confidence takes (6 for
            95 %), or a group has so few clusters that more than 1 % of the replicates lack it.
    """
    whole = _sum_up(values, clusters, groups)
    rng = np.random.default_rng(seed)
    sums = _bundle(whole, rng)
    count = len(sums.totals)
    tail = (1 - check_share(confidence, "The confidence")) / 2
    if count < (needed := count_needed(confidence)):
        raise StatisticsError(
            f"All values come from {count} clusters: an interval of {100 * confidence:g} % takes {needed} at "
            "least, or it would promise more than it holds"
        )
    reach = math.sqrt(count / (count - 1)) * find_t_quantile(1 - tail, count - 1)
    tail = NormalDist().cdf(-reach)
    means = np.concatenate(list(_draw_means(sums, draws, rng)))
    if (empty := int(np.isnan(means).sum())) > _EMPTY * draws:
        least = int(np.argmin((sums.counts > 0).sum(0)))
        raise StatisticsError(
            f"Group {sums.names[least]} comes from {int((sums.counts > 0).sum(0)[least])} clusters only, and "
            f"{empty} of {draws} replicates lack a group: a macro mean's interval can't be told"
        )
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Estimate(whole.value, Interval(float(low), float(high)), int(sums.counts.sum()), len(whole.totals))


def count_needed(confidence: float = 0.95) -> int:
    """How many clusters an interval of `bootstrap_mean` takes at least.

    Args:
        confidence: two-sided, 0 to 1.
    """
    return math.ceil(-math.log2((1 - check_share(confidence, "The confidence")) / 2))


def _draw_means(sums: _Sums, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Means of replicates, NaN where one lacks a group, [some of the draws]."""
    count = len(sums.totals)
    sides = [np.ascontiguousarray(side.T) for side in (sums.totals, sums.counts)]
    step = max(1, _AT_ONCE // count)
    for start in range(0, draws, step):
        drawn = rng.integers(count, size=(min(step, draws - start), count), dtype=np.uint16)
        totals, items = (np.array([column[drawn].sum(1) for column in side]) for side in sides)
        with np.errstate(invalid="ignore"):
            yield np.mean(totals / items, axis=0)


def find_sign_flip_p(
    differences: ArrayLike,
    clusters: Labels,
    *,
    seed: int,
    groups: Labels | None = None,
    draws: int = DRAWS,
) -> float:
    """Paired randomisation test of "both are alike": if so, the sign of what each cluster adds to the mean
    difference might as well be the other one.

    T is the sum of the clusters' parts, T* that with signs at random, p = (1 + #{|T*| >= |T|}) / (draws + 1).
    With so few clusters that all signs can be gone through, all are, and p is exact (Fisher 1935; Phipson and
    Smyth, arXiv 1603.05766, on the 1). More than 10,000 clusters flip in bundles, which is as valid.

    Args:
        differences: B less A on the same records, shape [items].
        clusters: what each item's source image is, shape [items].
        seed: of the draws.
        groups: where given, of the macro mean, shape [items].
        draws: flips.

    Returns:
        The two-sided p-value, never 0.

    Raises:
        StatisticsError: no differences, one is NaN, or just one cluster.
    """
    rng = np.random.default_rng(seed)
    parts = _bundle(_sum_up(differences, clusters, groups), rng).parts
    count = len(parts)
    least = abs(parts.sum()) - 1e-12 * np.abs(parts).sum()  # sums of one size may differ in the last digits
    if 2**count <= draws:
        flipped = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(np.abs((1 - 2 * flipped) @ parts) >= least))
    step = max(1, _AT_ONCE // count)
    beyond = 0
    for start in range(0, draws, step):
        size = min(step, draws - start), -(-count // 8)
        bits = np.unpackbits(rng.integers(256, size=size, dtype=np.uint8), axis=1, count=count)
        beyond += int(np.count_nonzero(np.abs(parts.sum() - 2 * (bits @ parts)) >= least))
    return (1 + beyond) / (draws + 1)


def find_clustered_error(values: ArrayLike, clusters: Labels, *, groups: Labels | None = None) -> float:
    """Standard error of a mean of clustered values.

        sqrt(C / (C - 1) · sum_c (sum_{i in c} (x_i - m))²) / n        (CR1; Miller, arXiv 2411.00640)

    and of a macro mean the same with each item's (x_i - m_group) / (G n_group).

    Args:
        values: shape [items].
        clusters: what each item's source image is, shape [items].
        groups: where given, of the macro mean, shape [items].

    Raises:
        StatisticsError: no values, one is NaN, or just one cluster.
    """
    pulls = _sum_up(values, clusters, groups).pulls
    return float(math.sqrt(len(pulls) / (len(pulls) - 1) * np.sum(pulls**2)))


def find_smallest_difference(
    differences: ArrayLike,
    clusters: Labels,
    *,
    groups: Labels | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The smallest true difference that records like these would show, paired and clustered.

        (z_{1 - alpha/2} + z_power) · SE          2.80 SE for 80 % power at 5 %, two-sided

    Args:
        differences: B less A on the same records, shape [items].
        clusters: what each item's source image is, shape [items].
        groups: where given, of the macro mean, shape [items].
        power: how surely it is to be seen, 0 to 1.
        alpha: level of the two-sided test, 0 to 1.

    Returns:
        It, in the unit of the differences.

    Raises:
        StatisticsError: as of `find_clustered_error`, or all clusters are off alike: nothing scatters.
    """
    normal = NormalDist()
    times = normal.inv_cdf(1 - check_share(alpha, "Alpha") / 2) + normal.inv_cdf(
        check_share(power, "The power")
    )
    error = find_clustered_error(differences, clusters, groups=groups)
    if error == 0:
        raise StatisticsError(
            "All differences are the same: what could be seen can't be told from what doesn't scatter"
        )
    return times * error
