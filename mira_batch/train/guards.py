"""When a training is to stop by itself, and which of its adapters is the best: pure functions of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Best:
    """The adapter that a training gives."""

    iteration: int
    """Number of iterations that made it."""
    why: str
    """In words."""


def is_diverging(training: Sequence[float | None], sentinel: Sequence[float | None], patience: int) -> bool:
    """Whether the training judge's score rose and the sentinel's fell, each time, over the last iterations.

    An iteration without a figure ends the row.

    Args:
        training: mean score of each iteration, by the judge of the reward.
        sentinel: the same by the sentinel.
        patience: how many times in a row.
    """
    pairs = list(zip(training, sentinel, strict=True))[-patience - 1 :]
    if len(pairs) <= patience:
        return False
    return all(
        None not in (*before, *after) and after[0] > before[0] and after[1] < before[1]  # type: ignore[operator]
        for before, after in zip(pairs, pairs[1:], strict=False)
    )


def is_past_best(validations: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether the last validations, so many, all scored less than the best of those before them.

    Args:
        validations: the figures of each, in order: `score` counts, where there is one.
        patience: how many in a row.
    """
    scores = [each["score"] for each in validations if each["score"] is not None]
    before, last = scores[:-patience], scores[-patience:]
    return bool(before) and max(last) < max(before)


def choose_best(
    validations: Sequence[Mapping[str, Any]], done: int, patience: int | None, diverged: bool
) -> Best:
    """Which adapter a training gives.

    Args:
        validations: the figures of each, in order: `iteration` (how many were done) and `score`.
        done: iterations that are done.
        patience: of the sentinel; None without one.
        diverged: whether it ended the training.
    """
    judged = [each for each in validations if each["score"] is not None and each["iteration"] > 0]
    if judged:
        best = max(judged, key=lambda each: (each["score"], -each["iteration"]))
        why = f"of {len(judged)} validations the best, with {best['score']:.4f}"
        first = next((each["score"] for each in validations if each["iteration"] == 0), None)
        if first is not None and best["score"] < first:
            why += f", and worse than without any training ({first:.4f})"
        return Best(best["iteration"], why)
    if diverged and patience is not None:
        # The rollouts of an iteration show the adapter of the one before it.
        return Best(max(1, done - 1 - patience), "the last one before the sentinel's scores began to fall")
    return Best(done, "the last one")
