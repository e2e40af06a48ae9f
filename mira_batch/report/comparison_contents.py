"""What the page of a comparison shows, as frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mira_batch.evaluate.compare import Comparison
from mira_batch.evaluate.gate import Gate
from mira_batch.report.plots import Cell, Forest, Pair, Split


@dataclass(frozen=True)
class Checked:
    """A gate, and what came of it."""

    gate: Gate
    passed: bool
    why: str


@dataclass(frozen=True)
class Side:
    """One of both, as the page names it."""

    letter: str
    name: str
    place: str
    """Its directory."""


@dataclass(frozen=True)
class ComparisonPage:
    """All that the page of a comparison shows."""

    found: Comparison
    sides: tuple[Side, Side]
    judge: str
    protocol: str
    left_out: str
    """Records that are in no figure, in words."""
    gates: Sequence[Checked]
    forest: Forest
    splits: tuple[Sequence[Split], Sequence[Split]]
    """Of scores, and of groups."""
    scatter: Sequence[Cell]
    effort: Sequence[Pair]
    failures: Sequence[Pair]
    pairwise: Sequence[str]
    """What a judge of pairs said, in sentences; empty where none was asked."""
    worse: int
    better: int
    """Records shown of each kind."""
    written: datetime
    data: str
    """JSON for the page's script: the records, and the marks of the scatter plot."""
    chunks: str
    """JSON for it: their pictures."""
