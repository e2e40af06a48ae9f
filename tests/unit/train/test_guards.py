"""When a training stops by itself, and which adapter it gives."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch.train.guards import choose_best, is_diverging, is_past_best


@pytest.mark.parametrize(
    ("training", "sentinel", "patience", "diverges"),
    [
        ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7], 2, True),
        ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7], 3, False),  # two rises alone
        ([0.5, 0.1, 0.2, 0.3], [0.1, 0.9, 0.8, 0.7], 2, True),  # what was before is over
        ([0.1, 0.2, 0.3], [0.9, 0.8, 0.8], 2, False),  # the sentinel stays
        ([0.1, 0.2, 0.2], [0.9, 0.8, 0.7], 2, False),  # the training judge stays
        ([0.1, 0.2, 0.3], [0.9, None, 0.7], 2, False),
        ([0.1, 0.2, 0.3], [0.9, 0.8, None], 1, False),
        ([], [], 1, False),
    ],
)
def test_divergence(training: list[Any], sentinel: list[Any], patience: int, diverges: bool) -> None:
    assert is_diverging(training, sentinel, patience) is diverges


def validation(iteration: int, score: float | None) -> dict[str, Any]:
    return {"iteration": iteration, "score": score}


@pytest.mark.parametrize(
    ("scores", "patience", "past"),
    [
        ([0.4, 0.6, 0.5, 0.3], 2, True),
        ([0.4, 0.6, 0.5, 0.3], 3, False),  # the best is one of the last three
        ([0.4, 0.6, 0.5, 0.6], 2, False),  # as good as the best
        ([0.6, 0.5], 1, True),  # before any training it was better
        ([0.6, 0.5], 2, False),
        ([0.6, None, 0.5, None, 0.4], 2, True),  # one that nobody scored is none
        ([None, 0.5], 1, False),
        ([], 1, False),
    ],
)
def test_past_the_best(scores: list[float | None], patience: int, past: bool) -> None:
    found = [validation(2 * number, score) for number, score in enumerate(scores)]
    assert is_past_best(found, patience) is past


def test_the_best_is_the_earliest_of_the_best_validations() -> None:
    found = [validation(0, 0.9), validation(2, 0.4), validation(4, 0.6), validation(6, 0.6)]
    assert choose_best(found, 6, None, False).iteration == 4  # what it began with is none of its adapters
    assert "worse than without any training (0.9000)" in choose_best(found, 6, None, False).why
    assert "worse" not in choose_best([validation(0, 0.6), *found[1:]], 6, None, False).why


def test_without_validations() -> None:
    assert choose_best([], 5, None, False).iteration == 5
    # The sentinel fell from the rollouts of iteration 6 to those of 8; those of 6 show the adapter of 5.
    assert choose_best([], 8, 2, True).iteration == 5
    assert choose_best([], 3, 2, True).iteration == 1
