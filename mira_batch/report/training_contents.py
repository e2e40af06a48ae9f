"""What the page of a training holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dot:
    """A value, and its place in a chart: x and y from 0 to 100, y from the top."""

    at: int
    value: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """How a figure went."""

    name: str
    dots: tuple[Dot, ...]

    @property
    def path(self) -> str:
        """As SVG's polyline takes it."""
        return " ".join(f"{dot.x:.2f},{dot.y:.2f}" for dot in self.dots)

    def describe(self, unit: str) -> str:
        """It in words, for who doesn't see it.

        Args:
            unit: what it is by.
        """
        begun, ended, values = self.dots[0], self.dots[-1], [dot.value for dot in self.dots]
        return (
            f"{self.name}: {begun.value:.4g} at {unit} {begun.at:,}, {ended.value:.4g} at {unit} "
            f"{ended.at:,}; from {min(values):.4g} to {max(values):.4g}"
        )


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, and the same of held-out data where there is one."""

    name: str
    low: float
    high: float
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class TrainingPage:
    """What the page shows."""

    place: str
    unit: str
    """What figures are by: iteration or step."""
    first: int
    last: int
    charts: tuple[Chart, ...]
    constant: tuple[tuple[str, float], ...]
    """Figures that are the same throughout."""
    chosen: int | None
    """After which iteration the result was taken."""
    chosen_x: float | None
    """Its place in each chart, from 0 to 100."""
    words: tuple[str, ...]
    """What its result says."""
