"""What an evaluation says: means with intervals, how far the judge can be trusted, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mira_batch.evaluate.controls import CANARIES, REPEAT
from mira_batch.evaluate.scores import OVERALL, Scores, cluster_of, is_edit_failure
from mira_batch.evaluate.statistics import (
    Interval,
    SelfAgreement,
    StatisticsError,
    bootstrap_mean,
    measure_self_agreement,
)

SEED = 1
"""Of the draws of all intervals and tests, so that the same scores give the same figures."""


@dataclass(frozen=True)
class Mean:
    """A mean over records."""

    value: float
    interval: Interval | None
    """Of 95 %, by the bootstrap over originals; None where it can't be told."""
    records: int
    originals: int
    note: str = ""
    """Why there is no interval."""


@dataclass(frozen=True)
class Canary:
    """What the judge said of images that must not do."""

    kind: str
    judged: int
    failed: int
    mean: float | None
    as_good: int
    """Of those judged, how many scored at least as high as the very record's own result."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation says."""

    run: str
    judge: str
    protocol: str
    records: int
    """Records with a row; those below add up to them."""
    judged: int
    judge_failed: int
    """The judge gave no score, or an image could not be had any more."""
    no_result: int
    """The edit failed: there is nothing to judge."""
    errors: Mapping[str, int]
    """Kinds of error of both."""
    means: Mapping[str, Mean]
    """By name: overall and each axis."""
    groups: Mapping[str, Mapping[str, Mean]]
    """The same by group."""
    scales: Mapping[str, tuple[float, float]]
    """The least and greatest value of each name."""
    agreement: SelfAgreement | None
    repeated: int
    agreement_note: str
    """Why there is no agreement."""
    canaries: Sequence[Canary]
    steps: float | None
    """Edits of a record, on the mean."""
    edit_cost: float
    """US dollars that all edits of these records were charged."""
    cost: float
    """The same for the judging, controls and all."""
    judge_seconds: float

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def summarise(scores: Scores) -> Evaluation:
    """What the scores of an evaluation come to. A judging that failed is counted, and in no mean."""
    rows = scores.results
    judged = [row for row in rows if row["values"]]
    missing = [row for row in rows if is_edit_failure(row)]
    names = list(dict.fromkeys(name for row in judged for name in row["values"]))
    groups = sorted({row["group"] for row in judged if row["group"] is not None})
    agreement, note = _measure_agreement(scores)
    steps = [row["num_steps"] for row in rows if row["num_steps"] is not None]
    return Evaluation(
        run=scores.run,
        judge=", ".join(scores.identity["judge"]),
        protocol=", ".join(scores.identity["protocol"]),
        records=len(rows),
        judged=len(judged),
        judge_failed=len(rows) - len(judged) - len(missing),
        no_result=len(missing),
        errors=dict(Counter(row["error_kind"] for row in rows if row["error_kind"])),
        means={name: average(judged, name) for name in names},
        groups={
            group: {name: average([r for r in judged if r["group"] == group], name) for name in names}
            for group in groups
        },
        scales=_find_scales(judged),
        agreement=agreement,
        repeated=len(scores.of(REPEAT)),
        agreement_note=note,
        canaries=[found for kind in CANARIES if (found := _look_at_canary(scores, kind)) is not None],
        steps=float(np.mean(steps)) if steps else None,
        edit_cost=sum(row["edit_cost"] or 0.0 for row in rows),
        cost=sum(row["cost"] or 0.0 for row in scores.rows),
        judge_seconds=sum((row["seconds"] or {}).get("judge") or 0.0 for row in scores.rows),
    )


def average(rows: Iterable[Mapping[str, Any]], name: str) -> Mean:
    """The mean of a score over the rows that have it.

    Args:
        rows: with at least one such.
        name: of the score.
    """
    having = [row for row in rows if name in row["values"]]
    values, clusters = [row["values"][name] for row in having], [cluster_of(row) for row in having]
    value = float(np.mean(values)) if values else float("nan")
    try:
        found = bootstrap_mean(values, clusters, seed=SEED)
    except StatisticsError as error:
        return Mean(value, None, len(values), len(set(clusters)), str(error))
    return Mean(found.value, found.interval, found.items, found.clusters)


def _find_scales(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    found = {OVERALL: (0.0, 1.0)}
    for row in rows:
        for axis in row["axes"] or ():
            if axis["name"] == OVERALL:  # the same in another unit
                continue
            low, high = found.get(axis["name"], (axis["low"], axis["high"]))
            found[axis["name"]] = min(low, axis["low"]), max(high, axis["high"])
    return found


def _measure_agreement(scores: Scores) -> tuple[SelfAgreement | None, str]:
    pairs = [[one["values"][OVERALL], other["values"][OVERALL]] for one, other in scores.repeats]
    if not pairs:
        return None, "no result was judged twice"
    try:
        return measure_self_agreement(pairs), ""
    except StatisticsError as error:
        return None, str(error)


def _look_at_canary(scores: Scores, kind: str) -> Canary | None:
    rows = scores.of(kind)
    if not rows:
        return None
    own = {row["of"]: row["values"].get(OVERALL) for row in scores.results}
    judged = [row for row in rows if row["values"]]
    values = [row["values"][OVERALL] for row in judged]
    pairs = [(row["values"][OVERALL], own.get(row["of"])) for row in judged]
    return Canary(
        kind,
        len(judged),
        len(rows) - len(judged),
        float(np.mean(values)) if values else None,
        sum(result is not None and value >= result for value, result in pairs),
    )
