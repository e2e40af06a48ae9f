"""Tables as they are shown: rows with names, and beside them what is not in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.evaluate.benchmarks.aggregate import Aggregate

Cell = str | int | float | None
"""None: there is no such figure."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    """Name and cells of each."""
    means: Sequence[tuple[str, Sequence[Cell]]] = ()
    """The last rows: means over those above."""
    digits: int = 2
    """After the point."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the items of a benchmark. The last three add up to the first."""

    items: int
    judged: int
    failed: int
    """There was an image, and the judge had no valid answer."""
    missing: int
    """There was no image, or nobody was asked about it."""
    reasons: Mapping[str, int]
    """Of both, by what happened, in words."""

    @property
    def complete(self) -> bool:
        """Whether all items are in the figures."""
        return self.judged == self.items


@dataclass(frozen=True, slots=True)
class Tabulated:
    """What a benchmark says of a run, or of a judge."""

    benchmark: str
    title: str
    source: Sequence[str]
    """The evaluation, or the runs."""
    judge: str
    protocol: str
    counts: Counts
    notes: Sequence[str]
    """What is to be known of its figures: why they don't compare with published ones, say."""
    sheets: Sequence[Sheet]
    figures: Mapping[str, Any]
    """The same in full, as JSON data."""

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        counts = self.counts
        return {
            "benchmark": self.benchmark,
            "source": list(self.source),
            "judge": self.judge,
            "protocol": self.protocol,
            "items": counts.items,
            "judged": counts.judged,
            "failed": counts.failed,
            "missing": counts.missing,
            "reasons": dict(counts.reasons),
            "complete": counts.complete,
            "notes": list(self.notes),
            "figures": dict(self.figures),
        }


def show_counts(found: Aggregate) -> tuple[Cell, Cell, Cell]:
    """Judged, failed and missing items of a row."""
    return found.judged, found.failed, found.missing


def dump_aggregate(found: Aggregate) -> dict[str, Any]:
    """A mean with what it rests on, as JSON data."""
    return {
        "value": found.value,
        "judged": found.judged,
        "failed": found.failed,
        "missing": found.missing,
        "complete": found.complete,
    }
