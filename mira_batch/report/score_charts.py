"""What a page says of an evaluation: charts of its scores, whose bars are filters, and how far its judge can
be trusted.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mira_batch.evaluate.scores import OVERALL, Scores
from mira_batch.evaluate.statistics import StatisticsError, bootstrap_mean
from mira_batch.evaluate.summary import SEED, Evaluation, summarise
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
class Kept:
    """What is known of a record of the run."""

    state: str
    why: str = ""
    """Why it has no score, unless the judge failed: what it said then is read when it is shown."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Its scores by name, as the page has them; none where it has none."""
    group: str | None = None
    """That its score counts in, as it is shown."""
    original: str = ""
    """What its errors share with those of others."""


def name_charts(names: Iterable[str], key: str) -> dict[str, str]:
    """What the page's address calls the chart of each score: letters, digits and `-`.

    Args:
        names: of the scores.
        key: what all of them end in.
    """
    found = {}
    for place, name in enumerate(names):
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        found[name] = f"{name}{key}" if name == OVERALL else f"axis{place}-{words}".strip("-") + key
    return found


def make_scoring(
    scores: Scores, records: Iterable[Kept], key: str, title: str, left_out: Sequence[str]
) -> Scoring:
    """What a page says of an evaluation.

    Args:
        scores: of the evaluation, with its controls.
        records: each record of the run.
        key: what the names of its charts end in.
        title: of it.
        left_out: scores that belong to nothing here, in words.
    """
    kept = list(records)
    names = name_charts(scores.scales, key)
    states = Counter(each.state for each in kept)
    order = [state for state in _COLOURS if states[state]]
    counts, colours = [states[state] for state in order], [_COLOURS[state] for state in order]
    charts: list[Chart | None] = [Chart(f"judged{key}", "Which were judged", order, counts, kinds=colours)]
    charts += [_chart_scores(kept, name, names[name], scale) for name, scale in scores.scales.items()]
    charts.append(_chart_groups(kept, key, names[OVERALL]))
    found = summarise(scores)
    said = [f"{states[state]:,} of {len(kept):,} {state}" for state in order]
    said += [f"left out: {', '.join(left_out)}"] if left_out else []
    shown = [chart for chart in charts if chart is not None and sum(chart.counts)]
    return Scoring(
        title, found.judge, found.protocol, said, shown, list(_describe_controls(found)), _warn(found)
    )


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
    rows: dict[str, list[Kept]] = defaultdict(list)
    for each in kept:
        if each.group is not None:
            rows[each.group].append(each)
    if not rows:
        return None
    means = {group: _average(found) for group, found in rows.items()}
    shown = sorted(means, key=lambda group: (means[group][0], group))[:_MOST_GROUPS]
    note = f"The worst {len(shown)} of {len(means):,} groups. " if len(shown) < len(means) else ""
    return Chart(
        f"group{key}",
        "Mean score by group",
        shown,
        [len(rows[group]) for group in shown],
        means=[means[group][0] for group in shown],
        intervals=[means[group][1] for group in shown],
        of=of,
        note=f"{note}Beside the mean, how many; the line is the 95 % interval.",
    )


def _average(kept: Sequence[Kept]) -> tuple[float, tuple[float, float] | None]:
    """The mean score, and its interval where it can be told."""
    values = [each.values[OVERALL] for each in kept]
    try:
        span = bootstrap_mean(values, [each.original for each in kept], seed=SEED).interval
    except StatisticsError:
        return float(np.mean(values)), None
    return float(np.mean(values)), (span.low, span.high)


def _describe_controls(found: Evaluation) -> Iterator[tuple[str, bool]]:
    yield describe_agreement(found), False
    for canary in found.canaries:
        yield describe_canary(canary), bool(canary.as_good)


def _warn(found: Evaluation) -> str:
    compared = sum(canary.compared for canary in found.canaries)
    as_good = sum(canary.as_good for canary in found.canaries)
    if not as_good:
        return ""
    return (
        f"This judge was fooled: in {as_good} of {compared} cases something that must not do scored as well "
        "as the result itself. Look at pictures before you trust these scores."
    )
