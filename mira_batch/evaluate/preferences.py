"""What an evaluation of pairs says: which of two runs is preferred, how surely, and how far the judge can be
trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mira_batch.core.errors import RunConflict
from mira_batch.core.types import Status
from mira_batch.evaluate.against import ONLY_A, ONLY_B, OTHERWISE
from mira_batch.evaluate.controls import PAIR_CANARIES, REPEAT, SAME
from mira_batch.evaluate.scores import OVERALL, Bools, Judgings, Scores, find_records
from mira_batch.evaluate.statistics import (
    DRAWS,
    Estimate,
    Floats,
    Interval,
    StatisticsError,
    WinTieLoss,
    bootstrap_mean,
    count_wins,
    find_exact_interval,
    find_fleiss_kappa,
    find_wilson_interval,
    settle_orders,
)
from mira_batch.evaluate.summary import SEED, add_up, count_texts

FORWARD, BACKWARD = "a_shown_first", "b_shown_first"
"""Axes of a judge that is asked in both orders: B over A as it is seen in each."""


@dataclass(frozen=True)
class Orders:
    """What showing each pair in both orders tells of the judge."""

    pairs: int
    """Pairs that it was asked about."""
    reversed: int
    """Of these, those of which it prefers one place, whatever is there; they are ties."""
    half: int
    """Those of which one order alone is a tie; they are ties, too."""
    disagreement: Interval | None
    """Of the share of both together, 95 %; None where it can't be told."""
    first_place: float
    """How often what was shown first is preferred, a tie being half; 0.5 of a judge that prefers no place."""
    first_interval: Interval | None
    """Of that, 95 %."""

    @property
    def share(self) -> float:
        """Share of pairs on which the orders disagree."""
        return (self.reversed + self.half) / self.pairs

    @property
    def prefers(self) -> str:
        """Which place it surely prefers: first or second; empty: none."""
        if self.first_interval is None or self.first_interval.covers(0.5):
            return ""
        return "first" if self.first_place > 0.5 else "second"


@dataclass(frozen=True)
class Preference:
    """How often B is preferred to A, and what both orders tell of the judge."""

    verdicts: WinTieLoss
    """Pairs of which B, neither and A is preferred."""
    share: float
    """Share of B, a tie being half of each."""
    interval: Interval | None
    """Of 95 %; None where it can't be told."""
    originals: int
    orders: Orders | None
    """None of a judge that scores each by itself, or that was asked about no pair."""
    note: str = ""
    """Why there is no interval."""

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.verdicts.win + self.verdicts.tie + self.verdicts.loss

    @property
    def favours(self) -> int:
        """1 where B is surely preferred, -1 where A is, else 0."""
        if self.interval is None:
            return 0
        return int(self.interval.low > 0.5) - int(self.interval.high < 0.5)


@dataclass(frozen=True)
class PairCanary:
    """What the judge said of a result and an image that is worse, or the same."""

    kind: str
    judged: int
    failed: int
    wrong: int
    """Of those judged, how many did not prefer the result; of the same image twice, how many preferred one in
    any order."""


@dataclass(frozen=True)
class Preferences:
    """What an evaluation of pairs says."""

    run: str
    a: str
    b: str
    """What was compared: two runs, or all runs of two outputs."""
    judge: str
    protocol: str
    records: int
    """Records of both, asked for alike; those below add up to them."""
    compared: int
    judge_failed: int
    """The judge gave no verdict, or an image could not be had any more."""
    no_result: int
    """The edit failed in A, in B or in both: there is nothing to compare."""
    errors: Mapping[str, int]
    """Kinds of error of both."""
    equal: int
    """Of those compared, those of which both have the same pixels: ties, and the judge was not asked."""
    only_a: int
    only_b: int
    asked_otherwise: int
    """Records of both with another instruction or original. Of a sample, and of what `input.where` names, the
    records of one alone are not counted."""
    preference: Preference | None
    """None where no pair was compared."""
    groups: Mapping[str, Preference]
    repeated: int
    """Pairs judged a second time, with a verdict each time."""
    repeated_alike: int
    """Of these, those with the same verdict."""
    kappa: float | None
    """Fleiss' κ of both; None where it can't be told."""
    canaries: Sequence[PairCanary]
    cost: float
    """US dollars for the judging, controls and all."""
    judge_seconds: float

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def summarise_pairs(scores: Scores) -> Preferences:
    """What an evaluation of pairs comes to. A judging that failed is counted, and in no share."""
    rows, identity = scores.results, scores.identity
    compared = rows.where(rows.scored)
    missing = int((rows.without_result | rows.equal("against_status", Status.failed)).sum())
    again, first = scores.beside(REPEAT)
    repeats = np.stack([first, again.values[OVERALL]], axis=1)
    repeats = repeats[~np.isnan(repeats).any(1)]
    return Preferences(
        run=scores.run,
        a=scores.against or "",
        b=scores.about["settings"]["input"]["manifest"],
        judge=", ".join(identity["judge"]),
        protocol=", ".join(identity["protocol"]),
        records=len(rows),
        compared=len(compared),
        judge_failed=len(rows) - len(compared) - missing,
        no_result=missing,
        errors=count_texts(rows, "error_kind"),
        equal=int(find_equal(compared).sum()),
        only_a=scores.turned_away.get(ONLY_A, 0),
        only_b=scores.turned_away.get(ONLY_B, 0),
        asked_otherwise=scores.turned_away.get(OTHERWISE, 0),
        preference=measure_preference(compared) if len(compared) else None,
        groups={
            group: measure_preference(compared.where(compared.equal("group", group)))
            for group in compared.distinct("group")
        },
        repeated=len(repeats),
        repeated_alike=int(np.count_nonzero(repeats[:, 0] == repeats[:, 1])),
        kappa=_find_kappa(repeats),
        canaries=[found for kind in PAIR_CANARIES if (found := _look_at_canary(scores, kind)) is not None],
        cost=add_up(scores, "cost"),
        judge_seconds=add_up(scores, "judge_seconds"),
    )


def measure_preference(pairs: Judgings) -> Preference:
    """How often B is preferred.

    Args:
        pairs: with a verdict each, one at least.
    """
    values, count = pairs.values[OVERALL], len(np.unique(pairs.clusters))
    verdicts, orders = count_wins(values - 0.5), _look_at_orders(pairs)
    interval, note = None, ""
    try:
        interval = estimate_share(values, pairs.clusters).interval
    except StatisticsError as error:
        note = str(error)
    return Preference(verdicts, float(values.mean()), interval, count, orders, note)


def estimate_share(values: Floats, clusters: np.ndarray, draws: int = DRAWS) -> Estimate:
    """The mean of verdicts between 0 and 1 with its interval of 95 %.

    Mostly that is the bootstrap over originals. Of pairs from one original each that are all 0 or 1 it is
    Wilson's. Where all verdicts are the same, from which a bootstrap learns nothing, it is the exact one: the
    originals show that at most so many are otherwise (Clopper and Pearson), and these may be anything.

    Args:
        values: shape [pairs].
        clusters: what each pair's original is, shape [pairs].
        draws: replicates of the bootstrap.

    Raises:
        StatisticsError: there is none, or they differ and come from one original.
    """
    value, count = float(np.mean(values)), len(np.unique(clusters))
    if np.ptp(values) == 0:
        otherwise = find_exact_interval(0, count).high
        interval = Interval(value - otherwise * value, value + otherwise * (1 - value))
        return Estimate(value, interval, len(values), count)
    if count == len(values) and np.isin(values, (0, 1)).all():
        return Estimate(value, find_wilson_interval(int(values.sum()), count), count, count)
    return bootstrap_mean(values, clusters, seed=SEED, draws=draws)


def find_equal(pairs: Judgings) -> Bools:
    """Of which pairs both have the same pixels."""
    same = pc.call_function("equal", [pairs.table["result_digest"], pairs.table["against_digest"]])
    return same.fill_null(False).to_numpy()


def _look_at_orders(pairs: Judgings) -> Orders | None:
    nothing = np.full(len(pairs), np.nan)
    forward, backward = (pairs.values.get(name, nothing) for name in (FORWARD, BACKWARD))
    asked = ~np.isnan(forward + backward)
    if not asked.any():
        return None
    forward, backward, clusters = forward[asked], backward[asked], pairs.clusters[asked]
    settled = settle_orders(2 * forward - 1, 2 * backward - 1)
    first = ((1 - forward) + backward) / 2
    return Orders(
        len(forward),
        settled.reversed,
        settled.half,
        _find_interval((forward != backward).astype(float), clusters),
        float(first.mean()),
        _find_interval(first, clusters),
    )


def _find_interval(values: Floats, clusters: np.ndarray) -> Interval | None:
    try:
        return estimate_share(values, clusters).interval
    except StatisticsError:
        return None


def _find_kappa(repeats: Floats) -> float | None:
    try:
        return find_fleiss_kappa(repeats.tolist())
    except StatisticsError:
        return None


def _look_at_canary(scores: Scores, kind: str) -> PairCanary | None:
    rows, _ = scores.beside(kind)
    if not len(rows):
        return None
    judged = rows.where(rows.scored)
    if kind == SAME:
        names = [name for name in (FORWARD, BACKWARD) if name in judged.values] or [OVERALL]
        wrong = np.any([judged.values[name] != 0.5 for name in names], axis=0)
    else:
        wrong = judged.values[OVERALL] < 1
    return PairCanary(kind, len(judged), len(rows) - len(judged), int(np.count_nonzero(wrong)))


def hold_beside(pairs: Scores, a: Scores, b: Scores) -> Preferences:
    """What an evaluation of pairs says, to stand beside the scores of two others.

    Args:
        pairs: it.
        a, b: those of the scores.

    Raises:
        RunConflict: it is none of pairs, or of other images than those that were scored as A and as B.
    """
    if pairs.against is None:
        raise RunConflict(
            f"{pairs.run}: compares no pairs; `mira-batch evaluate RUN_B --against RUN_A` makes one that does"
        )
    rows = pairs.results.where(pairs.results.scored)
    common, same = _match(rows, a.results, b.results)
    if not common:
        raise RunConflict(f"{pairs.run}: has no record in common with both {a.run} and {b.run}")
    if same < common:
        hint = "evaluate the pairs of these two runs"
        if _match(rows, b.results, a.results) == (common, common):
            hint = "it has A and B the other way round; swap the evaluations, or evaluate the pairs anew"
        raise RunConflict(
            f"{pairs.run}: {common - same:,} of {common:,} pairs are of other images than those that were "
            f"scored in {a.run} and {b.run}; {hint}"
        )
    return summarise_pairs(pairs)


def _match(rows: Judgings, a: Judgings, b: Judgings) -> tuple[int, int]:
    """How many pairs are of records of both evaluations, and of how many the pixels are those of both."""
    common = same = np.ones(len(rows), bool)
    for column, scores in (("against_digest", a), ("result_digest", b)):
        places = find_records(rows, scores)
        theirs = scores.table["result_digest"].take(places)
        common = common & theirs.is_valid().to_numpy()
        found = pc.call_function("equal", [rows.table[column], theirs])
        same = same & found.fill_null(False).to_numpy()
    return int(common.sum()), int((common & same).sum())
