"""Bradley-Terry with ties against scipy's optimiser, in closed form, and where it has no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from mira_batch.evaluate.statistics import StatisticsError, fit_strengths


def test_two_runs_in_closed_form() -> None:
    found = fit_strengths("AB", [[0, 6], [3, 0]], [[0, 2], [2, 0]])
    assert found.logs[0] - found.logs[1] == pytest.approx(math.log(6 / 3))
    assert found.ties == pytest.approx(2 / math.sqrt(6 * 3))
    assert found.find_chances("A", "B") == pytest.approx((6 / 11, 2 / 11, 3 / 11))
    assert found.find_chances("B", "A") == pytest.approx((3 / 11, 2 / 11, 6 / 11))
    assert sum(found.logs) == pytest.approx(0)


def measure_loss(place: np.ndarray, wins: np.ndarray, ties: np.ndarray) -> float:
    """Davidson's likelihood as the paper writes it, strengths as such."""
    strengths, nu = np.exp(np.append(place[:-1], -place[:-1].sum())), np.exp(place[-1])
    loss = 0.0
    for i in range(len(wins)):
        for j in range(len(wins)):
            if i != j:
                root = math.sqrt(strengths[i] * strengths[j])
                total = strengths[i] + strengths[j] + nu * root
                loss -= wins[i, j] * math.log(strengths[i] / total)
                loss -= ties[i, j] / 2 * math.log(nu * root / total)
    return loss


def test_the_fit_is_that_of_scipys_optimiser() -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        wins = rng.integers(0, 12, (5, 5)) * (1 - np.eye(5, dtype=int))
        ties = np.triu(rng.integers(0, 6, (5, 5)), 1)
        ties = ties + ties.T
        found = fit_strengths("ABCDE", wins, ties)
        best = optimize.minimize(
            measure_loss, np.zeros(5), (wins, ties), method="BFGS", options={"gtol": 1e-7}
        )
        assert found.logs[:4] == pytest.approx(best.x[:4], abs=1e-5)
        assert math.log(found.ties) == pytest.approx(best.x[4], abs=1e-5)


def test_without_ties_it_is_bradley_and_terrys() -> None:
    wins = np.array([[0, 7, 9], [3, 0, 6], [1, 4, 0]])
    found = fit_strengths("ABC", wins, np.zeros((3, 3)))
    strengths = np.exp(found.logs)
    expected = (wins + wins.T) * strengths[:, None] / (strengths[:, None] + strengths)
    np.fill_diagonal(expected, 0)
    assert expected.sum(1) == pytest.approx(wins.sum(1)), "each wins as often as it did"
    assert found.ties == 0 and found.find_chances("A", "B")[1] == 0


def test_known_strengths_are_found_again() -> None:
    rng = np.random.default_rng(8)
    logs, nu = np.array([1.0, 0.2, -0.4, -0.8]), 0.7
    wins, ties = np.zeros((4, 4)), np.zeros((4, 4))
    for i in range(4):
        for j in range(i):
            weights = np.exp([logs[i], logs[j], (logs[i] + logs[j]) / 2]) * [1, 1, nu]
            wins[i, j], wins[j, i], ties[i, j] = rng.multinomial(20_000, weights / weights.sum())
    found = fit_strengths("ABCD", wins, ties + ties.T)
    assert found.logs == pytest.approx(logs, abs=0.03)
    assert found.ties == pytest.approx(nu, abs=0.02)


def test_far_strengths_converge() -> None:
    wins = np.array([[0, 1e6, 0], [1, 0, 1e6], [0, 1, 0]])
    found = fit_strengths("ABC", wins, np.zeros((3, 3)))
    assert found.logs[0] - found.logs[2] == pytest.approx(2 * math.log(1e6), rel=1e-6)
    assert found.find_chances("A", "C")[2] == pytest.approx(1e-12, rel=1e-4)


@pytest.mark.parametrize(
    ("wins", "ties", "words"),
    [
        ([(0, 1, 5), (1, 0, 3), (2, 3, 5), (3, 2, 3)], [], "in no way compared"),
        ([(0, 1, 5), (1, 0, 3), (0, 2, 1), (3, 2, 3), (2, 3, 1)], [], "A never loses, over any chain, to C"),
        ([(0, 1, 5), (1, 2, 5)], [], "never loses"),
        ([], [(0, 1, 3), (1, 2, 3), (2, 3, 1)], "is a tie"),
        ([], [], "or there is none"),
        ([(0, 1, 5), (1, 2, 5), (2, 3, 5)], [(0, 1, 3), (1, 2, 3), (2, 3, 1)], "Wins back are too few"),
    ],
)
def test_where_strengths_would_be_infinite(wins: list, ties: list, words: str) -> None:
    won, tied = np.zeros((4, 4)), np.zeros((4, 4))
    for i, j, times in wins:
        won[i, j] = times
    for i, j, times in ties:
        tied[i, j] = tied[j, i] = times
    with pytest.raises(StatisticsError, match=words):
        fit_strengths("ABCD", won, tied)


def test_it_is_refused_exactly_where_the_likelihood_has_no_maximum() -> None:
    """Small random tables: the optimiser runs off just where the fit is refused."""
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(60):
        wins = rng.integers(0, 2, (3, 3)) * (1 - np.eye(3, dtype=int))
        ties = np.triu(rng.integers(0, 2, (3, 3)), 1)
        ties = ties + ties.T
        if not ties.any():
            continue
        best = optimize.minimize(
            measure_loss, np.zeros(3), (wins, ties), method="BFGS", options={"gtol": 1e-9}
        )
        finite = bool(np.abs(best.x).max() < 5)
        try:
            fit_strengths("ABC", wins, ties)
            assert finite, (wins, ties, best.x)
        except StatisticsError as error:
            assert not finite, (wins, ties, error)
            refused += 1
    assert 10 < refused < 50


def test_counts_that_make_no_sense_are_refused() -> None:
    good = np.array([[0, 2], [1, 0]])
    for names, wins, ties in (
        ("A", [[0]], [[0]]),
        ("AA", good, good * 0),
        ("ABC", good, good * 0),
        ("AB", good, good),
        ("AB", -good, good * 0),
        ("AB", good + np.eye(2), good * 0),
        ("AB", good * math.nan, good * 0),
    ):
        with pytest.raises(StatisticsError):
            fit_strengths(names, wins, ties)
