"""What numbers have to be before anything is said about them: there, finite, as many as their neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mira_batch.core.errors import UserError

Floats = NDArray[np.float64]
Labels = Sequence[Hashable] | NDArray
"""Names of what each item belongs to: its source image, its group, its category."""


class StatisticsError(UserError):
    """What was asked can't be told from these numbers. The message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value lies, with the confidence that was asked for."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """From low to high."""
        return self.high - self.low

    def covers(self, value: float) -> bool:
        """Whether a value lies in it, the ends included."""
        return self.low <= value <= self.high


def read_values(values: ArrayLike, what: str = "value", axes: int = 1) -> Floats:
    """Numbers as an array.

    Args:
        values: the numbers; none may be NaN or infinite.
        what: one of them, in words.
        axes: dimensions that the array must have.

    Raises:
        StatisticsError: there are none, they have another form, or one is NaN, infinite or None.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"A {what} is no number, or rows differ in length: {error}") from None
    if array.ndim != axes:
        raise StatisticsError(f"{what}s have {array.ndim} axes, expected {axes}")
    if not array.size:
        raise StatisticsError(f"There is no {what}: nothing can be said")
    if wrong := int(np.count_nonzero(~np.isfinite(array))):
        raise StatisticsError(
            f"{wrong} of {array.size} {what}s are NaN or infinite. Leave out what failed, and count it apart"
        )
    return array


def number_labels(labels: Labels, expected: int, what: str) -> NDArray[np.intp]:
    """Which label each item has, as numbers from 0 in the order in which labels first come.

    Args:
        labels: one for each item, shape [expected].
        expected: how many items there are.
        what: what a label names, in words.

    Raises:
        StatisticsError: there are not as many as items, or one is None or NaN.
    """
    if len(labels) != expected:
        raise StatisticsError(f"{len(labels)} {what}s for {expected} values: there must be one for each")
    if isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer):  # millions of them, too
        _, first, found = np.unique(labels, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[found]
    places: dict[Hashable, int] = {}
    found = np.empty(expected, np.intp)
    for k, label in enumerate(labels.tolist() if isinstance(labels, np.ndarray) else labels):
        if label is None or label != label:
            raise StatisticsError(f"Item {k} has no {what}")
        found[k] = places.setdefault(label, len(places))
    return found


def check_share(share: float, what: str) -> float:
    """A share that is neither nothing nor all.

    Raises:
        StatisticsError: it is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise StatisticsError(f"{what} is {share}; it must be between 0 and 1, both excluded")
    return share
