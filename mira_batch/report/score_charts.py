"""What a page says of an evaluation: charts of its scores, whose bars are filters, and how far its judge can
be trusted.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mira_batch.evaluate.scores import OVERALL, Scores
from mira_batch.evaluate.summary import Evaluation, average, find_scales, summarise
from mira_batch.report.charts import SCORE_EDGES, SCORE_LABELS, count_bins, find_step, make_number_chart
from mira_batch.report.contents import Chart, Scoring
from mira_batch.report.data import clip
from mira_batch.report.judged import describe_agreement, describe_canary

JUDGED, FAILED, NOT, NOTHING = "judged", "judge failed", "not judged", "nothing to judge"
_COLOURS = {JUDGED: "ok", FAILED: "failed", NOT: "unfinished", NOTHING: "none"}
_MOST_GROUPS = 16
_UNITS = 12
"""The longest scale of whole numbers that has a bin for each."""
_BINS = 10


@dataclass(frozen=True, slots=True)
class State:
    """Whether a result has a score, and in words why not."""

    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record of the run, and its row in the evaluation where that is about this very result."""

    state: State
    row: Mapping[str, Any] | None

    @property
    def values(self) -> Mapping[str, float]:
        """Its scores by name, rounded as the page has them; none where it has none."""
        found = self.row["values"] if self.row is not None and self.state.name == JUDGED else {}
        return {name: round(value, 4) for name, value in found.items()}

    @property
    def group(self) -> str | None:
        """The group that its score counts in, as it is shown."""
        group = self.row["group"] if self.row is not None and self.values else None
        return None if group is None else clip(group)


def make_scoring(
    scores: Scores, records: Mapping[str, Kept], key: str, title: str, left_out: Sequence[str]
) -> tuple[Scoring, dict[str, dict[str, Any]]]:
    """What a page says of an evaluation, and of each record its values by the names of charts.

    Args:
        scores: of the evaluation, with its controls.
        records: each record of the run.
        key: what the names of its charts end in.
        title: of it.
        left_out: scores that belong to nothing here, in words.
    """
    kept = list(records.values())
    scales = find_scales(each.row for each in kept if each.row is not None and each.values)
    names = {name: _name_chart(name, key, place) for place, name in enumerate(scales)}
    states = Counter(each.state.name for each in kept)
    order = [state for state in _COLOURS if states[state]]
    state_chart = Chart(
        f"judged{key}", "Which were judged", order, [states[state] for state in order],
        kinds=[_COLOURS[state] for state in order],
    )  # fmt: skip
    charts = [state_chart, *(_chart_scores(kept, name, names[name], scale) for name, scale in scales.items())]
    if group_chart := _chart_groups(kept, key, names[OVERALL]):
        charts.append(group_chart)
    charts = [chart for chart in charts if sum(chart.counts)]
    found = summarise(scores)
    counts = [f"{states[state]:,} of {len(kept):,} {state}" for state in order]
    counts += [f"left out: {', '.join(left_out)}"] if left_out else []
    scoring = Scoring(
        title, found.judge, found.protocol, counts, charts, list(_describe_controls(found)), _warn(found)
    )
    return scoring, {record: _dump_values(each, names, key) for record, each in records.items()}


def _name_chart(name: str, key: str, place: int) -> str:
    """What the page's address calls it: letters, digits and `-`, its own."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{name}{key}" if name == OVERALL else f"axis{place}-{words}{key}".replace("--", "-")


def _dump_values(each: Kept, names: Mapping[str, str], key: str) -> dict[str, Any]:
    found: dict[str, Any] = {f"judged{key}": each.state.name}
    found |= {names[name]: value for name, value in each.values.items()}
    return found | ({f"group{key}": each.group} if each.group is not None else {})


def _chart_scores(kept: Sequence[Kept], name: str, chart: str, scale: tuple[float, float]) -> Chart:
    found = np.array([each.values[name] for each in kept if name in each.values], float)
    title = "Score" if name == OVERALL else clip(name.replace("_", " "))
    edges, labels = (SCORE_EDGES, SCORE_LABELS) if name == OVERALL else find_bins(scale, found)
    return make_number_chart(chart, title, count_bins(found, edges), edges, labels)


def find_bins(scale: tuple[float, float], values: Any) -> tuple[Sequence[float], Sequence[str]]:
    """Edges of bins of a scale, and a label for each bin: where it begins. A scale of few whole numbers has
    a bin for each of them; of any other the stretch that the values take is cut in round steps.

    Args:
        scale: its least and greatest value.
        values: on it, a numpy array; may be empty.
    """
    low, high = scale
    if low.is_integer() and high.is_integer() and 1 < high - low <= _UNITS:
        edges = [float(k) for k in range(int(low) + 1, int(high) + 1)]
        return edges, [f"{edge:g}" for edge in (low, *edges)]
    if low < high <= low + 1:
        step = (high - low) / _BINS
        edges = [round(low + step * k, 6) for k in range(1, _BINS)]
        return edges, [f"{edge:.3g}" for edge in (low, *edges)]
    least, most = (float(values.min()), float(values.max())) if len(values) else (low, high)
    step = find_step((most - least) / _BINS, 1e-6) if most > least else 1.0
    first, last = math.floor(least / step) + 1, math.ceil(most / step)
    edges = [round(step * k, 6) for k in range(first, max(first, last) + 1)]
    return edges, [f"{edge:g}" for edge in (edges[0] - step, *edges)]


def _chart_groups(kept: Sequence[Kept], key: str, of: str) -> Chart | None:
    """The mean score of each group, the worst first."""
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in kept:
        if each.group is not None and each.row is not None:
            rows[each.group].append(each.row)
    if not rows:
        return None
    means = {group: average(found, OVERALL) for group, found in rows.items()}
    shown = sorted(means, key=lambda group: (means[group].value, group))[:_MOST_GROUPS]
    intervals = [means[group].interval for group in shown]
    note = f"The worst {len(shown)} of {len(means):,} groups. " if len(shown) < len(means) else ""
    return Chart(
        f"group{key}",
        "Mean score by group",
        shown,
        [means[group].records for group in shown],
        means=[means[group].value for group in shown],
        intervals=[None if span is None else (span.low, span.high) for span in intervals],
        of=of,
        note=f"{note}Beside the mean, how many; the line is the 95 % interval.",
    )


def _describe_controls(found: Evaluation) -> Iterator[tuple[str, bool]]:
    yield describe_agreement(found), False
    for canary in found.canaries:
        yield describe_canary(canary), bool(canary.as_good)


def _warn(found: Evaluation) -> str:
    judged = sum(canary.judged for canary in found.canaries)
    as_good = sum(canary.as_good for canary in found.canaries)
    if not as_good:
        return ""
    return (
        f"This judge was fooled: in {as_good} of {judged} cases something that must not do scored as well as "
        "the result itself. Look at pictures before you trust these scores."
    )
