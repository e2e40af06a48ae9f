"""What an evaluation says: means with intervals, how far the judge can be trusted, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mira_batch.evaluate.controls import CANARIES, REPEAT
from mira_batch.evaluate.scores import OVERALL, Judgings, Scores
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
    compared: int
    """Of those judged, how many are of a record whose own result has a score."""
    as_good: int
    """Of these, how many scored at least as high as the record's own result."""


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
    """The same by group; each without the axes that none of its records has."""
    group_key: str | None
    """What they are values of; None: no groups were asked for."""
    ungrouped: int
    """Judged records in none of them, since their metadata lack the key."""
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
    judged, missing = rows.where(rows.scored), int(rows.without_result.sum())
    names = [name for name in scores.scales if not np.isnan(judged.values[name]).all()]
    agreement, repeated, note = _measure_agreement(scores)
    steps = rows.numbers("num_steps")
    identity = scores.identity
    return Evaluation(
        run=scores.run,
        judge=", ".join(identity["judge"]),
        protocol=", ".join(identity["protocol"]),
        records=len(rows),
        judged=len(judged),
        judge_failed=len(rows) - len(judged) - missing,
        no_result=missing,
        errors=count_texts(rows, "error_kind"),
        means={name: average(judged, name) for name in names},
        groups={
            group: _average_group(judged.where(judged.equal("group", group)), names)
            for group in judged.distinct("group")
        },
        group_key=(key := scores.about["settings"].get("group")),
        ungrouped=0 if key is None else judged.table["group"].null_count,
        scales={name: scores.scales[name] for name in (OVERALL, *names)},
        agreement=agreement,
        repeated=repeated,
        agreement_note=note,
        canaries=[found for kind in CANARIES if (found := _look_at_canary(scores, kind)) is not None],
        steps=None if np.isnan(steps).all() else float(np.nanmean(steps)),
        edit_cost=float(np.nansum(rows.numbers("edit_cost"))),
        cost=add_up(scores, "cost"),
        judge_seconds=add_up(scores, "judge_seconds"),
    )


def count_texts(rows: Judgings, column: str) -> dict[str, int]:
    """How often each text of a column is there."""
    counts = rows.table[column].drop_null().value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts}


def add_up(scores: Scores, column: str) -> float:
    """The sum of a column of numbers over all judgings."""
    return sum(float(np.nansum(rows.numbers(column))) for rows in (scores.results, scores.controls))


def average(rows: Judgings, name: str) -> Mean:
    """The mean of a score over the rows that have it.

    Args:
        rows: with at least one such.
        name: of the score.
    """
    having = ~np.isnan(rows.values[name])
    values, clusters = rows.values[name][having], rows.clusters[having]
    value = float(np.mean(values))
    try:
        found = bootstrap_mean(values, clusters, seed=SEED)
    except StatisticsError as error:
        return Mean(value, None, len(values), len(np.unique(clusters)), str(error))
    return Mean(found.value, found.interval, found.items, found.clusters)


def _average_group(rows: Judgings, names: Sequence[str]) -> dict[str, Mean]:
    """The means of a group. An axis may be that of another kind of edit: of no values there is no mean."""
    return {name: average(rows, name) for name in names if not np.isnan(rows.values[name]).all()}


def _measure_agreement(scores: Scores) -> tuple[SelfAgreement | None, int, str]:
    """The agreement, of how many it was asked, and why there is none."""
    again, first = scores.beside(REPEAT)
    pairs = np.stack([first, again.values[OVERALL]], axis=1)
    pairs = pairs[~np.isnan(pairs).any(1)]
    if not len(pairs):
        return None, len(again), "no result was judged twice"
    try:
        return measure_self_agreement(pairs), len(again), ""
    except StatisticsError as error:
        return None, len(again), str(error)


def _look_at_canary(scores: Scores, kind: str) -> Canary | None:
    rows, own = scores.beside(kind)
    if not len(rows):
        return None
    values = rows.values[OVERALL][rows.scored]
    compared = rows.scored & ~np.isnan(own)
    return Canary(
        kind,
        len(values),
        len(rows) - len(values),
        float(np.mean(values)) if len(values) else None,
        int(compared.sum()),
        int((rows.values[OVERALL][compared] >= own[compared]).sum()),
    )
