"""GEdit-Bench's table: 11 groups, three axes, all items and those of the intersection.

An item's overall is sqrt(SC · PQ), a group's row is the mean of its items, and the benchmark's figure is the
unweighted mean of the 11 rows. Languages are tables of their own. The intersection are the items that all
models of the first published comparison had answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mira_batch.evaluate.benchmarks.aggregate import (
    Aggregate,
    Outcome,
    average_groups,
    check_item,
    count_outcomes,
    refuse_twice,
    refuse_unknown,
)

GROUPS = (
    "background_change",
    "color_alter",
    "material_alter",
    "motion_change",
    "ps_human",
    "style_change",
    "subject-add",
    "subject-remove",
    "subject-replace",
    "text_change",
    "tone_transfer",
)
LANGUAGES = ("en", "cn")
"""As the data say: Chinese is cn, not zh."""


@dataclass(frozen=True, slots=True)
class GEditItem:
    """An instruction of the benchmark, and what its edit was judged to be."""

    key: str
    group: str
    language: str
    intersection: bool
    outcome: Outcome
    semantics: float | None = None
    """SC, 0 to 10; None unless judged."""
    quality: float | None = None
    """PQ, 0 to 10; None unless judged."""

    @property
    def overall(self) -> float:
        """sqrt(SC · PQ) of a judged item."""
        return math.sqrt((self.semantics or 0.0) * (self.quality or 0.0))


@dataclass(frozen=True, slots=True)
class Axes:
    """A row of the table."""

    semantics: Aggregate
    quality: Aggregate
    overall: Aggregate


@dataclass(frozen=True, slots=True)
class GEditTable:
    """One table of the benchmark."""

    groups: Mapping[str, Axes]
    """By name, in the benchmark's order; those without items are there, too."""
    macro: Axes
    """Unweighted means of the groups' means: the benchmark's figure."""
    items: Axes
    """Means over items. No figure of the benchmark's."""


@dataclass(frozen=True, slots=True)
class GEditResult:
    """What the benchmark reports of one language."""

    language: str
    all: GEditTable
    intersection: GEditTable


def aggregate_gedit(items: Sequence[GEditItem], language: str) -> GEditResult:
    """The benchmark's two tables of one language.

    Args:
        items: all of the benchmark, of any language, whatever became of them.
        language: en or cn.

    Raises:
        BenchmarkError: an unknown group or language, an item that comes twice, or scores out of 0 to 10.
    """
    refuse_unknown("language", language, LANGUAGES, "language")
    refuse_twice((item.key, item.language) for item in items)
    for item in items:
        refuse_unknown(item.key, item.group, GROUPS, "group")
        refuse_unknown(item.key, item.language, LANGUAGES, "language")
        check_item(item.key, item.outcome, (item.semantics, item.quality), 0, 10)
    chosen = [item for item in items if item.language == language]
    return GEditResult(language, _tabulate(chosen), _tabulate([item for item in chosen if item.intersection]))


def _tabulate(items: Sequence[GEditItem]) -> GEditTable:
    rows = {name: _average([item for item in items if item.group == name]) for name in GROUPS}

    def average(axis: Callable[[Axes], Aggregate]) -> Aggregate:
        return average_groups({name: axis(row) for name, row in rows.items()}, GROUPS)

    macro = Axes(average(lambda a: a.semantics), average(lambda a: a.quality), average(lambda a: a.overall))
    return GEditTable(rows, macro, _average(items))


def _average(items: Iterable[GEditItem]) -> Axes:
    there = list(items)
    judged = [item for item in there if item.outcome is Outcome.judged]
    return Axes(
        count_outcomes(there, [item.semantics or 0.0 for item in judged]),
        count_outcomes(there, [item.quality or 0.0 for item in judged]),
        count_outcomes(there, [item.overall for item in judged]),
    )
