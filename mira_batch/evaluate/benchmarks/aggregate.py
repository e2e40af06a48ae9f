"""A mean that says what it rests on: items that failed or are missing are counted beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mira_batch.core.errors import DataSetError


class BenchmarkError(DataSetError):
    """Items are none of this benchmark, or contradict themselves. The message names the item and the fix."""


class Outcome(StrEnum):
    """What became of an item of a benchmark."""

    judged = "judged"
    """It has its scores."""
    failed = "failed"
    """There was an image, and the judge had no valid answer to it."""
    missing = "missing"
    """There is no edited image: the edit failed, or the item was never run."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A mean over items, or over groups of items."""

    value: float | None
    """Over what was judged. None where nothing was, or a group that it needs has nothing judged."""
    judged: int
    failed: int
    missing: int

    @property
    def complete(self) -> bool:
        """Whether all items are in it: only then it may be held against published figures."""
        return self.value is not None and not self.failed and not self.missing


class HasOutcome(Protocol):
    """An item of any benchmark."""

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        ...


def count_outcomes(items: Iterable[HasOutcome], values: Sequence[float]) -> Aggregate:
    """The plain mean over items.

    Args:
        items: all that belong in it, whatever became of them.
        values: of the judged ones among them, in any order.

    Raises:
        BenchmarkError: there are not as many values as judged items, or one is NaN.
    """
    counts = Counter(item.outcome for item in items)
    judged = counts[Outcome.judged]
    if judged != len(values) or not all(map(math.isfinite, values)):
        raise BenchmarkError(f"{len(values)} values for {judged} judged items, each a number, are needed")
    value = math.fsum(values) / judged if judged else None
    return Aggregate(value, judged, counts[Outcome.failed], counts[Outcome.missing])


def average_groups(groups: Mapping[str, Aggregate], expected: Iterable[str]) -> Aggregate:
    """The macro mean: the unweighted mean of the groups' means.

    Args:
        groups: by name.
        expected: names of all groups that belong in it.

    Returns:
        It, with value None where a group lacks or has nothing judged: a mean of fewer groups is
        another figure.
    """
    names = tuple(expected)
    there = [groups[name] for name in names if name in groups]
    values = [group.value for group in there if group.value is not None]
    return Aggregate(
        math.fsum(values) / len(names) if len(values) == len(names) else None,
        sum(group.judged for group in there),
        sum(group.failed for group in there),
        sum(group.missing for group in there),
    )


def check_item(key: str, outcome: Outcome, scores: Sequence[float | None], low: float, high: float) -> None:
    """Refuse an item whose scores don't go with what became of it.

    Args:
        key: its name, for the message.
        outcome: what became of it.
        scores: all that a judged item of this benchmark has, None where one lacks.
        low, high: what they may be.

    Raises:
        BenchmarkError: a judged item lacks a score or has one out of range, or another has one.
    """
    if outcome is not Outcome.judged:
        if any(score is not None for score in scores):
            raise BenchmarkError(f"{key}: is {outcome} and has a score. A failure has none")
        return
    for score in scores:
        if score is None or not low <= score <= high:
            raise BenchmarkError(
                f"{key}: is judged and has a score of {score}; {low:g} to {high:g} are valid. Note "
                "it as failed"
            )


def refuse_unknown(key: str, name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that a benchmark hasn't.

    Args:
        key: the item's name, for the message.
        name: what it says.
        known: names that there are.
        what: what these name, in words.

    Raises:
        BenchmarkError: it is none of them.
    """
    if name not in (names := tuple(known)):
        raise BenchmarkError(f"{key}: {what} {name!r} is none of {', '.join(names)}")


def refuse_twice(keys: Iterable[object]) -> None:
    """Refuse items that would count twice.

    Raises:
        BenchmarkError: a key comes twice.
    """
    twice = [key for key, times in Counter(keys).items() if times > 1]
    if twice:
        raise BenchmarkError(f"{len(twice)} items come more than once, the first is {twice[0]}")
