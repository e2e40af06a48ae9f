"""The charts of a report: how many of a run's records fall into each of some bins.

A bin is a name (how a record ended) or a stretch of numbers. The page finds the bin of a record by the same
edges, so that a bar is a filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.figures import show_dollars
from mira_batch.core.receipts import Tally
from mira_batch.report.contents import Chart
from mira_batch.report.data import MEASURES, clip
from mira_batch.storage import schema
from mira_batch.storage.stores import Store, open_arrow_filesystem

SCORE_EDGES = tuple(round(k / 10, 1) for k in range(1, 10))
SCORE_LABELS = (*(f"{k / 10:.1f}" for k in range(9)), "0.9+")
"""Of charts of scores in [0, 1]."""
_STEPS = tuple(float(k) for k in range(1, 13))
_TIMES = tuple(float(f"{m}e{e}") for e in range(-2, 5) for m in (1, 2, 5))
_COSTS = tuple(float(f"{m}e{e}") for e in range(-5, 3) for m in (1, 2, 5))
EDGES: dict[str, tuple[float, ...]] = {
    "steps": _STEPS,
    "seconds": _TIMES,
    "cost": _COSTS,
    "shift": (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    "delta_e": (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0),
    "changed_share": (0.01, 0.05, 0.1, 0.25, 0.5, 0.75),
}
"""Of charts of numbers: a value's bin is the number of edges that are not above it."""
_TITLES = (("Shift of the rest", "px"), ("Colour of the rest", "ΔE"), ("Share that was edited", "%"))
"""Of the charts of `MEASURES`, with their units. The rest is what was not edited."""
_SCORE_COLUMNS = ["steps.list.element.accepted", "steps.list.element.score"]


@dataclass
class Histograms:
    """Counts of bins, filled batch by batch."""

    counts: dict[str, Any] = field(
        default_factory=lambda: {name: np.zeros(len(edges) + 1, np.int64) for name, edges in EDGES.items()}
    )

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the records of a batch, which has the columns num_steps, seconds, cost and fidelity."""
        parts = [batch["seconds"].field(name.name).fill_null(0).to_numpy() for name in schema.SECONDS]
        values = {
            "steps": batch["num_steps"].fill_null(0).to_numpy(),
            "seconds": np.round(np.sum(parts, axis=0), 3),  # as the page has them
            "cost": batch["cost"].fill_null(0.0).to_numpy(zero_copy_only=False),
        }
        facts = dict(zip(schema.FIDELITY.names, batch["fidelity"].flatten(), strict=True))
        values |= {name: np.round(facts[name].drop_null().to_numpy(), 4) for name in MEASURES}
        for name, found in values.items():
            self.counts[name] += count_bins(found, EDGES[name])


def count_bins(values: Any, edges: Sequence[float]) -> Any:
    """How many of the values fall into each bin."""
    return np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1)


def count_scores(store: Store, storage: StorageConfig, files: Sequence[str]) -> Any:
    """How many results have which judge's score, in bins of a tenth. Of each row the scores alone are read.

    Args:
        store: the run's directory.
        storage: how it is reached.
        files: its result files.

    Raises:
        pa.ArrowException, OSError: a result file can't be read.
    """
    counts = np.zeros(len(SCORE_EDGES) + 1, np.int64)
    fs, _ = open_arrow_filesystem(store.uri, storage)
    for file in files:
        with pq.ParquetFile(file, filesystem=fs) as parquet:
            rows = parquet.read(columns=_SCORE_COLUMNS)["steps"].to_pylist()
        last = [[step["score"] for step in steps or () if step["accepted"]][-1:] for steps in rows]
        found = [round(scores[0], 4) for scores in last if scores and scores[0] is not None]
        counts += count_bins(np.array(found, float), SCORE_EDGES)
    return counts


def make_charts(tally: Tally, histograms: Histograms, scores: Any | None) -> list[Chart]:
    """The charts of a run that have anything to show.

    Args:
        tally: of all its records.
        histograms: of their numbers.
        scores: as `count_scores`; None without a judge.
    """
    statuses = {"ok": tally.ok, "unfinished": tally.unfinished, "failed": tally.failed}
    found = [
        make_name_chart("status", "How records ended", statuses, lambda name: name),
        make_name_chart("stops", "Why records stopped", tally.stops, lambda _: ""),
        make_name_chart("errors", "What failed", tally.errors, lambda _: "failed"),
    ]
    if scores is not None and scores.sum():
        found.append(make_number_chart("score", "Judge's score", scores, SCORE_EDGES, SCORE_LABELS))
    steps = ["0", *(f"{k:.0f}" for k in _STEPS[:-1]), f"{_STEPS[-1]:.0f}+"]
    found.append(make_number_chart("steps", "Edits", histograms.counts["steps"], _STEPS, steps))
    times = ["0", *(_name_time(edge) for edge in _TIMES)]
    found.append(make_number_chart("seconds", "Time", histograms.counts["seconds"], _TIMES, times))
    costs = histograms.counts["cost"]
    if costs[1:].sum():
        named = ["0", *(show_dollars(edge) for edge in _COSTS)]
        found.append(make_number_chart("cost", "Cost", costs, _COSTS, named))
    for name, (title, unit) in zip(MEASURES, _TITLES, strict=True):
        edges = EDGES[name]
        named = [f"{edge * (100 if unit == '%' else 1):g}" for edge in (0.0, *edges)]
        found.append(make_number_chart(name, f"{title}, {unit}", histograms.counts[name], edges, named))
    return [chart for chart in found if sum(chart.counts)]


def make_name_chart(name: str, title: str, counts: Mapping[str, int], kind: Callable[[str], str]) -> Chart:
    """A chart of names, the most frequent first.

    Args:
        name, title: the chart's.
        counts: by name, untrusted text.
        kind: how the bar of a name is coloured.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    there = [(key, n) for key, n in (counts.items() if name == "status" else ordered) if n]
    return Chart(
        name,
        title,
        [clip(key).replace("_", " ") for key, _ in there],
        [n for _, n in there],
        kinds=[kind(key) for key, _ in there],
    )


def make_number_chart(
    name: str, title: str, counts: Any, edges: Sequence[float], labels: Sequence[str]
) -> Chart:
    """A chart of numbers, without the empty bins at either end.

    Args:
        name, title: the chart's.
        counts: of each bin, as `count_bins`.
        edges: between the bins.
        labels: of each bin.
    """
    there = np.flatnonzero(counts)
    low, high = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
    return Chart(
        title=title,
        name=name,
        labels=labels[low:high],
        counts=counts[low:high].tolist(),
        edges=edges,
        first=low,
    )


def _name_time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def find_step(least: float, smallest: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least so much.

    Args:
        least: so much.
        smallest: what it is of nothing.
    """
    wanted = max(least, smallest)
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= wanted * (1 - 1e-9))


def dump_charts(charts: Sequence[Chart]) -> Iterator[dict[str, Any]]:
    """What the page's script needs to find a record's bins."""
    for chart in charts:
        found = {"name": chart.name, "labels": chart.labels, "edges": chart.edges, "first": chart.first}
        yield found | ({"of": chart.of} if chart.means else {})
