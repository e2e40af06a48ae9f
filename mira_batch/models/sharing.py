"""What models of one process have in common is loaded once.

A policy and a judge, or two judges of a panel, may name the same weights, loaded in the same way. Each of
them asks `Copies` for what it needs, and says by a key how it is loaded: whoever comes second with the same
key gets what the first has loaded. The copies of *one* model are there to work at the same time, so none of
them is ever the same as another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Loaded:
    """What a process has loaded so far."""

    def __init__(self) -> None:
        self._found: dict[Hashable, list[Any]] = defaultdict(list)

    def for_model(self) -> Copies:
        """What one model, with all its copies, takes of it."""
        return Copies(self._found)


class Copies:
    """What one model takes of what is loaded: for each of its copies another."""

    def __init__(self, found: dict[Hashable, list[Any]] | None = None) -> None:
        self._found = defaultdict(list) if found is None else found
        self._taken: Counter[Hashable] = Counter()

    def take(self, key: Hashable, load: Callable[[], T]) -> T:
        """What another model has loaded by this key and this one has not taken yet; loaded now where there is
        none.

        Args:
            key: all that changes what is loaded.
            load: loads it.
        """
        there = self._found[key]
        if len(there) == self._taken[key]:
            there.append(load())
        self._taken[key] += 1
        return there[self._taken[key] - 1]
