"""Strengths of several runs from pairwise verdicts: Bradley-Terry with ties, as Davidson has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mira_batch.evaluate.statistics.checks import Floats, StatisticsError, read_values

_ROUNDS = 200
_CLOSE = 1e-10
"""Largest slope of the log-likelihood, per comparison, at which it has converged."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """How strong each run is."""

    names: tuple[str, ...]
    logs: tuple[float, ...]
    """Natural logarithms of the strengths, their mean 0, as `names`."""
    ties: float
    """ν: how readily equals tie; their chance of it is ν / (2 + ν). 0 where nothing tied."""

    def find_chances(self, one: str, other: str) -> tuple[float, float, float]:
        """The chances that `one` wins against `other`, that they tie, and that it loses."""
        logs = dict(zip(self.names, self.logs, strict=True))
        # by the difference alone, so that nothing overflows
        half = np.exp(-abs(logs[one] - logs[other]) / 2)
        strong, tie, weak = np.array([1, self.ties * half, half**2]) / (1 + self.ties * half + half**2)
        if logs[one] >= logs[other]:
            return float(strong), float(tie), float(weak)
        return float(weak), float(tie), float(strong)


def fit_strengths(names: Sequence[str], wins: ArrayLike, ties: ArrayLike) -> Strengths:
    """Fit Davidson's model (JASA 65, 1970) by maximum likelihood.

        P(i beats j) = π_i / (π_i + π_j + ν sqrt(π_i π_j)),   P(tie) = ν sqrt(π_i π_j) / (same)

    In log π and log ν the log-likelihood is concave. Newton's steps are halved until it rises, so that it
    never falls, and the fit counts only when the slope is 0 within 1e-10 per comparison.

    Args:
        names: of the runs, two at least.
        wins: how often the row's run beat the column's, shape [runs, runs], 0 on the diagonal.
        ties: how often they tied, shape [runs, runs], symmetric, 0 on the diagonal. A tie is one comparison:
            it stands at both places.

    Raises:
        StatisticsError: the counts make no sense; some runs are never compared with the others, or never lose
            to them, or each comparison ties: strengths would be infinite; or the fit has not converged.
    """
    won, tied = _read_counts(names, wins, ties)
    _refuse_infinite(names, won, tied)
    with_ties = bool(tied.any())
    place = np.zeros(len(names) + 1)
    total = won.sum() + tied.sum() / 2
    for _ in range(_ROUNDS):
        slope, curve = _differentiate(place, won, tied)
        if not with_ties:
            slope, curve = slope[:-1], curve[:-1, :-1]
        if np.abs(slope).max() <= _CLOSE * total:
            logs = place[:-1] - place[:-1].mean()
            return Strengths(
                tuple(names), tuple(logs.tolist()), float(np.exp(place[-1])) if with_ties else 0.0
            )
        step = np.zeros_like(place)
        step[: len(slope)] = np.linalg.lstsq(curve, slope, rcond=None)[0]  # all π may grow alike: no inverse
        place = _climb(place, step, won, tied)
    raise StatisticsError(
        f"Strengths have not converged in {_ROUNDS} rounds: some verdicts are all but one-sided"
    )


def _climb(place: Floats, step: Floats, won: Floats, tied: Floats) -> Floats:
    """As far along the step as the log-likelihood rises."""
    before = _measure_likelihood(place, won, tied)
    for _ in range(60):
        if _measure_likelihood(place + step, won, tied) >= before - 1e-13 * abs(before):
            return place + step
        step = step / 2
    raise StatisticsError("Strengths have not converged: no step makes the fit better")


def _find_shares(place: Floats, with_ties: bool) -> tuple[Floats, Floats]:
    """Chances of the row's win and of a tie, [runs, runs] each."""
    apart = place[:-1, None] - place[None, :-1]
    tie = np.exp(place[-1] - np.abs(apart) / 2) if with_ties else np.zeros_like(apart)
    strong, weak = np.exp(np.minimum(apart, 0)), np.exp(np.minimum(-apart, 0))
    return strong / (strong + weak + tie), tie / (strong + weak + tie)


def _measure_likelihood(place: Floats, won: Floats, tied: Floats) -> float:
    win, tie = _find_shares(place, bool(tied.any()))
    parts = won[won > 0] @ np.log(win[won > 0]) + tied[tied > 0] @ np.log(tie[tied > 0]) / 2
    return float(parts)


def _differentiate(place: Floats, won: Floats, tied: Floats) -> tuple[Floats, Floats]:
    """Slope of the log-likelihood and its curvature with the sign turned, [runs + 1] and its square.

    Half of what a comparison brings goes by (win - loss) of a pair, the exponent of ν by ties.
    """
    win, tie = _find_shares(place, bool(tied.any()))
    seen = won + won.T + tied
    slope = np.append((won + tied / 2 - seen * (win + tie / 2)).sum(1), (tied - seen * tie).sum() / 2)
    lead = win - win.T
    of_pair = seen * (win + win.T - lead**2) / 4
    across = -seen * lead * tie / 2
    curve = np.zeros((len(place), len(place)))
    curve[:-1, :-1] = np.diag(of_pair.sum(1)) - of_pair
    curve[:-1, -1] = curve[-1, :-1] = across.sum(1)
    curve[-1, -1] = (seen * tie * (1 - tie)).sum() / 2
    return slope, curve


def _read_counts(names: Sequence[str], wins: ArrayLike, ties: ArrayLike) -> tuple[Floats, Floats]:
    won, tied = read_values(wins, "count", axes=2), read_values(ties, "count", axes=2)
    if len(names) < 2 or len(set(names)) < len(names):
        raise StatisticsError("Two runs at least are needed, of different names")
    if won.shape != (len(names), len(names)) or tied.shape != won.shape:
        raise StatisticsError(f"Counts of shape {won.shape} and {tied.shape} for {len(names)} runs")
    if min(won.min(), tied.min()) < 0 or np.diag(won).any() or np.diag(tied).any() or (tied != tied.T).any():
        raise StatisticsError(
            "Counts can't be below 0, a run has none against itself, and ties are symmetric"
        )
    return won, tied


def _refuse_infinite(names: Sequence[str], won: Floats, tied: Floats) -> None:
    """Refuse what has no finite best fit: exactly where some change of strengths and of ν makes each verdict
    seen more likely, or none less likely, for ever.

    Without a change of ν these are runs that others can't be reached from by wins and ties. With one: each
    win would have to put the winner at least 2 ahead, and each tie keep both within 2. Shortest paths tell
    whether that can be, by a cycle of negative length where it can't. (Of wins alone: Ford 1957.)
    """
    if not won.any():
        raise StatisticsError("Each comparison is a tie, or there is none: strengths can't be told")
    links = (won > 0) | (tied > 0)
    reach = _find_paths(np.where(links, 0.0, np.inf))
    if np.isinf(reach).any():
        ahead, behind = np.argwhere(np.isinf(reach.T))[0]
        linked = _find_paths(np.where(links | links.T, 0.0, np.inf))
        told = (
            "never loses, over any chain, to" if linked[ahead, behind] == 0 else "is in no way compared with"
        )
        raise StatisticsError(
            f"{names[ahead]} {told} {names[behind]}: their strengths can't be "
            "held against each other. Compare more pairs"
        )
    if tied.any():
        lengths = np.where(tied > 0, 1.0, np.inf)
        lengths[won > 0] = -1.0
        if (np.diag(_find_paths(lengths)) >= 0).all():
            raise StatisticsError(
                "Wins back are too few for the ties that there are: strengths would be infinite. Compare "
                "more pairs"
            )


def _find_paths(lengths: Floats) -> Floats:
    """Lengths of shortest paths between all pairs (Floyd and Warshall), cut off below."""
    paths = lengths.copy()
    np.fill_diagonal(paths, np.minimum(np.diag(paths), 0))
    for k in range(len(paths)):
        paths = np.maximum(np.minimum(paths, paths[:, k, None] + paths[None, k, :]), -1e9)
    return paths
