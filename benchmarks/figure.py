"""What a measurement gives, and what measurements share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a figure stands in a table of its own."""

    table: str
    """The table's title."""
    row: str
    column: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, held against its target."""

    name: str
    value: float
    unit: str
    op: Literal[">=", "<="] | None
    """On which side of the target the value should be; None: the figure is only reported."""
    target: float | None
    met: bool | None
    method: str
    """How it was measured, in a sentence or two."""
    cell: Cell | None = None
    """None: a line of the main table."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark."""

    folder: Path
    """Scratch space, deleted at the end."""
    quick: bool
    """A shorter run, whose figures only show that the benchmark works."""

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def at_least(target: float, name: str, value: float, unit: str, method: str) -> Figure:
    return Figure(name, _rounded(value), unit, ">=", target, value >= target, method)


def at_most(target: float, name: str, value: float, unit: str, method: str) -> Figure:
    return Figure(name, _rounded(value), unit, "<=", target, value <= target, method)


def reported(name: str, value: float, unit: str, method: str) -> Figure:
    """A figure without a target: the context of another, or a number to watch."""
    return Figure(name, _rounded(value), unit, None, None, None, method)


def in_table(figure: Figure, table: str, row: str, column: str) -> Figure:
    """The figure as a cell of a table of its own, and not as a line of the main one."""
    return replace(figure, cell=Cell(table, row, column))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
