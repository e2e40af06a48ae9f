"""One evaluation against another, record by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import RunConflict
from mira_batch.evaluate.scores import OVERALL, Bools, Judgings, Scores, find_records
from mira_batch.evaluate.statistics import (
    Discordance,
    Floats,
    Interval,
    StatisticsError,
    WinTieLoss,
    adjust_holm,
    bootstrap_mean,
    compare_flags,
    count_wins,
    find_sign_flip_p,
    find_smallest_difference,
)
from mira_batch.evaluate.summary import SEED

_MOST_REGRESSIONS = 10
_MOST_NAMED = 5
_MINUS = "\u2212"


@dataclass(frozen=True)
class Line:
    """One figure of both, over the records that both have."""

    name: str
    a: float
    b: float
    difference: float
    """B less A."""
    interval: Interval | None
    """Of the difference, 95 %, by the bootstrap over originals; None where it can't be told."""
    p: float | None
    """By flipping signs of whole originals; over several axes after Holm."""
    wins: WinTieLoss
    """Of B over A: larger is a win, also of steps and cost."""
    smallest: float | None
    """The smallest difference that such records show four times of five."""
    records: int
    originals: int
    note: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


@dataclass(frozen=True)
class Regression:
    """A record that B did worse on."""

    record_id: str
    a: float
    b: float


@dataclass(frozen=True)
class Failures:
    """Records without a score, of those that both runs were asked for."""

    a: int
    b: int
    test: Discordance


@dataclass(frozen=True)
class Comparison:
    """What two evaluations of the same records say of each other."""

    a: str
    b: str
    paired: int
    """Records that both have, asked for alike."""
    only_a: int
    only_b: int
    asked_otherwise: int
    """Records of the same name with another instruction or original; they are left out."""
    scored: int
    """Of the paired ones, those with a score in both."""
    scores: Sequence[Line]
    """Overall first, then the axes."""
    groups: Mapping[str, Line]
    """The overall score by group."""
    effort: Sequence[Line]
    """Edits, seconds and dollars of a record, where both know them."""
    no_result: Failures
    judge_failed: Failures
    worst: Sequence[Regression]
    verdict: str

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    def find_line(self, name: str) -> Line | None:
        """The figure of this name."""
        return next((line for line in (*self.scores, *self.effort) if line.name == name), None)


def compare(a: Scores, b: Scores) -> Comparison:
    """Compare two evaluations.

    Raises:
        RunConflict: they were not scored alike, or have no record in common.
    """
    _refuse_unlike(a, b)
    common = _pair_up(a.results, b.results)
    pairs = common.where(common.asked_alike)
    if not len(pairs):
        raise RunConflict(
            f"{a.run} and {b.run} have no record in common that was asked for alike "
            f"({len(common):,} have the same name); evaluate two runs of the same manifest"
        )
    scored = pairs.where(pairs.a.scored & pairs.b.scored)
    lines = [_compare(scored, name, scored.take(name)) for name in a.scales if name in b.scales]
    lines = _adjust([line for line in lines if line.records])
    by_group = {}
    for group in scored.a.distinct("group"):
        chosen = scored.where(scored.a.equal("group", group))
        by_group[group] = _compare(chosen, OVERALL, chosen.take(OVERALL))
    effort = [
        line
        for name, column in (("steps", "num_steps"), ("seconds", "edit_seconds"), ("cost", "edit_cost"))
        if (line := _compare_column(pairs, name, column)) is not None
    ]
    no_result = pairs.a.without_result, pairs.b.without_result
    judge_failed = (~(rows.scored | rows.without_result) for rows in (pairs.a, pairs.b))
    return Comparison(
        a=a.run,
        b=b.run,
        paired=len(pairs),
        only_a=len(a.results) - len(common),
        only_b=len(b.results) - len(common),
        asked_otherwise=len(common) - len(pairs),
        scored=len(scored),
        scores=lines,
        groups=by_group,
        effort=effort,
        no_result=_count_failures(*no_result),
        judge_failed=_count_failures(*judge_failed),
        worst=_find_worst(scored),
        verdict=_say(lines, by_group),
    )


def _refuse_unlike(a: Scores, b: Scores) -> None:
    one, other = a.identity, b.identity
    unlike = [f"{name}: {one[name]} and {other[name]}" for name in one if one[name] != other[name]]
    if unlike:
        raise RunConflict(
            f"{a.run} and {b.run} were not scored alike, so their scores don't compare. {'; '.join(unlike)}. "
            "Evaluate both with the same judge"
        )
    for scores, of in ((a, one), (b, other)):
        if len(of["judge"]) > 1 or len(of["protocol"]) > 1:
            raise RunConflict(f"{scores.run}: has scores of several judges: {of['judge']}, {of['protocol']}")


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The judgings of both of the same records, in the same order."""

    a: Judgings
    b: Judgings

    def __len__(self) -> int:
        return len(self.a)

    def where(self, mask: Bools) -> _Pairs:
        return _Pairs(self.a.where(mask), self.b.where(mask))

    def take(self, name: str) -> tuple[Floats, Floats]:
        """A score of both, NaN where there is none."""
        return self.a.values[name], self.b.values[name]

    @property
    def asked_alike(self) -> Bools:
        """Of which records the instruction and the original's pixels are the same; of those whose pixels are
        not known, where it lies."""

        def agree(column: str) -> pa.ChunkedArray:
            return pc.call_function("equal", [self.a.table[column], self.b.table[column]])

        original = pc.call_function("coalesce", [agree("source_digest"), agree("source")])
        found = pc.call_function("and", [agree("instruction"), original])
        return found.fill_null(False).to_numpy()


def _pair_up(a: Judgings, b: Judgings) -> _Pairs:
    places = find_records(a, b)
    return _Pairs(a.where(places.is_valid().to_numpy()), b.take(places.drop_null()))


def _compare_column(pairs: _Pairs, name: str, column: str) -> Line | None:
    a, b = pairs.a.numbers(column), pairs.b.numbers(column)
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any() or (name == "cost" and not (a[known].any() or b[known].any())):
        return None
    return _compare(pairs, name, (a, b))


def _compare(pairs: _Pairs, name: str, values: tuple[Floats, Floats]) -> Line:
    known = ~np.isnan(values[0] + values[1])
    a, b, clusters = values[0][known], values[1][known], pairs.a.clusters[known]
    differences = b - a
    interval = p = smallest = None
    note = ""
    try:
        interval = bootstrap_mean(differences, clusters, seed=SEED).interval
        p = find_sign_flip_p(differences, clusters, seed=SEED)
        smallest = find_smallest_difference(differences, clusters)
    except StatisticsError as error:
        note = str(error)
    return Line(
        name,
        float(a.mean()) if len(a) else float("nan"),
        float(b.mean()) if len(b) else float("nan"),
        float(differences.mean()) if len(a) else float("nan"),
        interval,
        p,
        count_wins(differences) if len(a) else WinTieLoss(0, 0, 0),
        smallest,
        len(a),
        len(np.unique(clusters)),
        note,
    )


def show_signed(value: float) -> str:
    """A difference as it is printed."""
    return f"{value:+.3f}".replace("-", _MINUS)


def _adjust(lines: Sequence[Line]) -> list[Line]:
    """The axes' p-values as of several that were looked at; the overall score is the one that was asked
    about."""
    axes = [line for line in lines if line.name != OVERALL and line.p is not None]
    adjusted = dict(
        zip((line.name for line in axes), adjust_holm([line.p or 0.0 for line in axes]), strict=True)
    )
    return [Line(**{**vars(line), "p": adjusted.get(line.name, line.p)}) for line in lines]


def _count_failures(a: Bools, b: Bools) -> Failures:
    return Failures(int(a.sum()), int(b.sum()), compare_flags(a, b))


def _find_worst(pairs: _Pairs) -> list[Regression]:
    a, b = pairs.take(OVERALL)
    order = np.argsort(b - a, kind="stable")[:_MOST_REGRESSIONS]
    names = pairs.a.table["of"]
    return [Regression(names[int(k)].as_py(), float(a[k]), float(b[k])) for k in order if b[k] < a[k]]


def _say(lines: Sequence[Line], groups: Mapping[str, Line]) -> str:
    """The verdict in a sentence."""
    if not lines:
        return "No record has a score in both: nothing can be said of which is better."
    overall = lines[0]
    size = f"{show_signed(overall.difference)} overall"
    if overall.interval is None:
        words = f"B is {size}; how sure that is can't be told"
    elif overall.is_sure:
        words = f"B is {'better' if overall.difference > 0 else 'worse'} ({size})"
    else:
        words = f"no difference is shown ({size})"
        if overall.smallest is not None:
            words += f"; one of {overall.smallest:.3f} would be, four times of five"
    against = [
        f"{name} ({show_signed(line.difference)})"
        for name, line in groups.items()
        if line.is_sure and line.difference < 0 < overall.difference
    ]
    if against:
        words += f"; but worse on {', '.join(against[:_MOST_NAMED])}"
    return words[0].upper() + words[1:] + "."
