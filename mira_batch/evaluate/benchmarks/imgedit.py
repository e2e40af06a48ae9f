"""ImgEdit-Bench's table (Basic): nine types, and both means that are published of them.

An item is the mean of its three axes, a type the mean of its items, each rounded to two digits as the
benchmark's own script does. The script has no overall; published tables have one of two, which differ in the
second digit: the macro mean of the nine types, and the mean weighted by how many items each has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mira_batch.evaluate.benchmarks.aggregate import (
    Aggregate,
    Outcome,
    average_groups,
    check_item,
    count_outcomes,
    refuse_twice,
    refuse_unknown,
)

TYPES = {
    "add": 95,
    "adjust": 94,
    "extract": 117,
    "replace": 92,
    "remove": 86,
    "background": 94,
    "style": 100,
    "compose": 23,
    "action": 36,
}
"""Items of each type, in the order of published tables; 737 in all. `compose` is called Hybrid there."""


@dataclass(frozen=True, slots=True)
class ImgEditItem:
    """An instruction of the benchmark, and what its edit was judged to be."""

    key: str
    type: str
    outcome: Outcome
    axes: tuple[float, float, float] | None = None
    """The three scores, 1 to 5 each, in the order of the type's prompt; None unless judged. An answer with
    fewer is a failure: a mean of two axes is another figure."""

    @property
    def score(self) -> float:
        """The mean of a judged item's axes, to two digits."""
        return round(sum(self.axes or ()) / 3, 2)

    @property
    def breaks_rule(self) -> bool:
        """Whether the second or third axis exceeds the first: the prompts forbid it, nothing enforces it."""
        return self.axes is not None and max(self.axes[1:]) > self.axes[0]


@dataclass(frozen=True, slots=True)
class ImgEditTable:
    """What the benchmark reports."""

    types: Mapping[str, Aggregate]
    """By name, in the order of published tables; those without items are there, too."""
    macro: Aggregate
    """Unweighted mean of the nine types."""
    weighted: Aggregate
    """Mean of the types, each by its judged items."""
    rule_breaks: int
    """Judged items whose second or third axis exceeds the first."""


def aggregate_imgedit(items: Sequence[ImgEditItem]) -> ImgEditTable:
    """The benchmark's table.

    Args:
        items: all of the benchmark, whatever became of them.

    Raises:
        BenchmarkError: an unknown type, an item that comes twice, or scores out of 1 to 5.
    """
    refuse_twice(item.key for item in items)
    types: dict[str, Aggregate] = {}
    for item in items:
        refuse_unknown(item.key, item.type, TYPES, "type")
        axes = (*(item.axes or ()), None, None, None)  # a missing one is None
        check_item(item.key, item.outcome, axes[: max(3, len(item.axes or ()))], 1, 5)
    for name in TYPES:
        chosen = [item for item in items if item.type == name]
        mean = count_outcomes(chosen, [item.score for item in chosen if item.outcome is Outcome.judged])
        types[name] = replace(mean, value=None if mean.value is None else round(mean.value, 2))
    macro, weighted = average_types(types)
    return ImgEditTable(types, macro, weighted, sum(item.breaks_rule for item in items))


def average_types(types: Mapping[str, Aggregate]) -> tuple[Aggregate, Aggregate]:
    """Both overall means of the types' means.

    Args:
        types: by name.

    Returns:
        The macro mean, and the mean weighted by judged items. Both are None where one of the nine types lacks
        or has nothing judged.
    """
    macro = average_groups(types, TYPES)
    if macro.value is None:
        return macro, macro
    there = [types[name] for name in TYPES]
    weighted = math.fsum((each.value or 0.0) * each.judged for each in there) / macro.judged
    return macro, replace(macro, value=weighted)
