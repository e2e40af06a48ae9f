"""The charts of a comparison as numbers: where each mark lies. `templates/plots.html.j2` draws them.

Positions are percent of a plot's width or height, so that text, which must not grow and shrink with it, stays
text of the page.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.core.figures import show_dollars, show_figure
from mira_batch.evaluate.compare import Comparison, Failures, Line, show_signed
from mira_batch.evaluate.gate import Gate
from mira_batch.evaluate.scores import OVERALL
from mira_batch.report.charts import find_step
from mira_batch.report.data import clip
from mira_batch.report.judged import show_p

_MOST_GROUPS = 24
"""Groups that are drawn; the table behind a plot has all."""
_TICKS = 4
_NAMED = 3
"""Records of one mark that are named."""
_UNITS: Mapping[str, Any] = {
    "steps": lambda value: f"{value:,.2f}",
    "seconds": lambda value: f"{show_figure(value)} s",
    "cost": lambda value: show_dollars(value, 4),
}


@dataclass(frozen=True)
class Mark:
    """A gate's limit in a row of a forest plot."""

    x: float
    text: str
    passed: bool


@dataclass(frozen=True)
class ForestRow:
    """A difference with its interval. x, low and high are percent of the plot's width."""

    label: str
    difference: str
    interval: str
    x: float | None
    """None where there is no difference to draw."""
    low: float | None
    high: float | None
    kind: str
    """better, worse or other (surely different, where more isn't better), open, or empty."""
    gates: Sequence[Mark] = ()


@dataclass(frozen=True)
class Forest:
    """A forest plot: differences as shares of each score's scale, so that all have one axis."""

    rows: Sequence[ForestRow]
    groups: Sequence[ForestRow]
    zero: float
    ticks: Sequence[tuple[float, str]]
    left_out: int
    """Groups that are not drawn."""


def lay_forest(
    found: Comparison,
    scales: Mapping[str, tuple[float, float]],
    gates: Sequence[tuple[Gate, bool]],
) -> Forest:
    """The forest plot of a comparison.

    Args:
        found: the comparison.
        scales: the least and greatest value of each score.
        gates: those that were asked for, and whether they passed; those of other figures are left out.
    """
    groups = _choose_groups(found.groups)
    spans = {line.name: _find_span(scales.get(line.name)) for line in found.scores}
    drawn = [(line, spans[line.name]) for line in found.scores] + [(line, 1.0) for _, line in groups]
    limits = {
        line.name: [(gate, ok) for gate, ok in gates if gate.name == line.name] for line in found.scores
    }
    reached = [0.0]
    for line, span in drawn:
        ends = () if line.interval is None else (line.interval.low, line.interval.high)
        reached += [value / span for value in (line.difference, *ends) if math.isfinite(value)]
    reached += [gate.limit / spans[name] for name, several in limits.items() for gate, _ in several]
    step = find_step((max(reached) - min(reached)) / _TICKS, 0.01)
    first, last = math.floor(min(reached) / step - 0.25), math.ceil(max(reached) / step + 0.25)

    def place(share: float) -> float:
        return 100 * (share / step - first) / (last - first)

    rows = [
        _lay_row(line.name.replace("_", " "), line, spans[line.name], place, limits[line.name])
        for line in found.scores
    ]
    return Forest(
        rows,
        [_lay_row(name, line, 1.0, place, ()) for name, line in groups],
        place(0.0),
        [(place(k * step), show_percent(k * step)) for k in range(first + 1, last)],
        len(found.groups) - len(groups),
    )


def _choose_groups(groups: Mapping[str, Line]) -> list[tuple[str, Line]]:
    """Those of most records, where there are too many; in the order of their names."""
    most = sorted(groups, key=lambda name: (-groups[name].records, name))[:_MOST_GROUPS]
    return [(name, groups[name]) for name in sorted(most)]


def _find_span(scale: tuple[float, float] | None) -> float:
    low, high = scale or (0.0, 1.0)
    return high - low if high > low else 1.0


def _lay_row(
    label: str, line: Line, span: float, place: Any, gates: Iterable[tuple[Gate, bool]]
) -> ForestRow:
    kind = "" if line.interval is None else "open"
    if line.is_sure:
        kind = "other" if line.name != OVERALL else "better" if line.difference > 0 else "worse"
    ends = None if line.interval is None else (line.interval.low, line.interval.high)
    known = math.isfinite(line.difference)
    return ForestRow(
        clip(label),
        show_signed(line.difference) if known else "–",
        "no interval" if ends is None else f"{show_signed(ends[0])} to {show_signed(ends[1])}",
        place(line.difference / span) if known else None,
        None if ends is None else place(ends[0] / span),
        None if ends is None else place(ends[1] / span),
        kind,
        [Mark(place(gate.limit / span), gate.text, passed) for gate, passed in gates],
    )


def show_percent(share: float) -> str:
    """A share as a signed percentage without decimals that say nothing: "+10 %", "0"."""
    return "0" if not round(share, 6) else f"{100 * share:+.3g} %".replace("-", "\u2212")


@dataclass(frozen=True)
class Split:
    """How many records B did better, alike and worse on, as counts and percent."""

    label: str
    counts: tuple[int, int, int]
    shares: tuple[float, float, float]
    kind: str
    """judged, where more is better; else other."""


def lay_splits(found: Comparison) -> tuple[list[Split], list[Split]]:
    """Wins, ties and losses of the scores, and of the groups that are drawn: of those with any record."""
    scores = [(line.name.replace("_", " "), line) for line in found.scores]
    return _split(scores), _split(_choose_groups(found.groups))


def _split(lines: Iterable[tuple[str, Line]]) -> list[Split]:
    splits = []
    for label, line in lines:
        counts = (line.wins.win, line.wins.tie, line.wins.loss)
        if total := sum(counts):
            win, tie, loss = (100 * count / total for count in counts)
            kind = "judged" if line.name == OVERALL else "other"
            splits.append(Split(clip(label), counts, (win, tie, loss), kind))
    return splits


@dataclass(frozen=True)
class Cell:
    """Records whose scores are the same to two decimals. x and y are A's and B's score."""

    x: float
    y: float
    records: int
    radius: float
    """Of 0 to 1: the area is as the number of records."""
    names: Sequence[str]
    """Of some of them."""
    kind: str
    """better, same or worse."""


def lay_scatter(scores: Iterable[tuple[str, float, float]]) -> list[Cell]:
    """B's score over A's, a mark for each pair of scores; the worst for B first.

    Args:
        scores: record, A's score and B's, in [0, 1].
    """
    names: dict[tuple[float, float], list[str]] = defaultdict(list)
    counts: dict[tuple[float, float], int] = defaultdict(int)
    for record, a, b in scores:
        at = round(a, 2), round(b, 2)
        counts[at] += 1
        if len(names[at]) < _NAMED:
            names[at].append(clip(record))
    most = max(counts.values(), default=1)
    cells = [
        Cell(
            x, y, counts[x, y], math.sqrt(counts[x, y] / most), names[x, y],
            "better" if y > x else "worse" if y < x else "same",
        )
        for x, y in counts
    ]  # fmt: skip
    return sorted(cells, key=lambda cell: (cell.y - cell.x, cell.x))


@dataclass(frozen=True)
class Pair:
    """A figure of A and of B, as text and as percent of the longest bar."""

    label: str
    a: str
    b: str
    share_a: float
    share_b: float
    difference: str


def lay_effort(found: Comparison) -> list[Pair]:
    """What both came to and took: the overall score, then edits, seconds and dollars of a record."""
    lines = [line for line in found.scores if line.name == OVERALL and line.records]
    pairs = [_lay_pair("overall score", line, "{:.3f}".format, 1.0) for line in lines]
    for line in found.shown_effort:
        most = max(line.a, line.b)
        name = {"steps": "edits", "seconds": "time", "cost": "cost"}[line.name]
        pairs.append(_lay_pair(f"{name} of a record", line, _UNITS[line.name], most))
    return pairs


def _lay_pair(label: str, line: Line, show: Any, most: float) -> Pair:
    share_a, share_b = (100 * value / most if most else 0.0 for value in (line.a, line.b))
    interval = ""
    if line.interval is not None:
        interval = f" ({show_signed(line.interval.low)} to {show_signed(line.interval.high)})"
    ratio = f", {line.b / line.a:.2f} times A's" if line.a > 0 and line.name != OVERALL else ""
    difference = f"{show_signed(line.difference)}{interval}{ratio}"
    return Pair(label, show(line.a), show(line.b), share_a, share_b, difference)


def lay_failures(found: Comparison) -> list[Pair]:
    """Records without a score, of those that both were asked for."""
    return [
        _lay_failure(label, failures, found.paired)
        for label, failures in (("no result", found.no_result), ("judge failed", found.judge_failed))
    ]


def _lay_failure(label: str, failures: Failures, paired: int) -> Pair:
    shares = [100 * count / paired for count in (failures.a, failures.b)]
    a, b = (f"{n:,} · {share:.1f} %" for n, share in zip((failures.a, failures.b), shares, strict=True))
    only = f"{failures.test.only_a:,} in A alone, {failures.test.only_b:,} in B alone"
    return Pair(label, a, b, shares[0], shares[1], f"{only}, p {show_p(failures.test.p)}")
