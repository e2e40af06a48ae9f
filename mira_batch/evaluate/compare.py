"""One evaluation against another, record by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mira_batch.core.errors import RunConflict
from mira_batch.evaluate.pairing import Pairs, pair_up
from mira_batch.evaluate.preferences import Preference, Preferences, hold_beside
from mira_batch.evaluate.scores import OVERALL, Bools, Scores, refuse_pairs
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

EFFORT = {"steps": "num_steps", "seconds": "edit_seconds", "cost": "edit_cost"}
"""Figures beside scores, and the columns that they are of."""
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
    """Edits, seconds and dollars of a record, where both know them; no dollars is a figure, too."""
    no_result: Failures
    judge_failed: Failures
    worst: Sequence[Regression]
    pairwise: Preferences | None
    """What a judge says that looked at both results of a record, where it was asked."""
    verdict: str

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @property
    def shown_effort(self) -> Sequence[Line]:
        """What of the effort is worth a line: no cost where nothing costs money."""
        return [line for line in self.effort if line.name != "cost" or line.a or line.b]

    def find_line(self, name: str) -> Line | None:
        """The figure of this name."""
        return next((line for line in (*self.scores, *self.effort) if line.name == name), None)


def compare(a: Scores, b: Scores, pairs_of_both: Scores | None = None) -> Comparison:
    """Compare two evaluations.

    Args:
        a: the one to be beaten.
        b: the other.
        pairs_of_both: an evaluation of the pairs of the same results, to stand beside them.

    Raises:
        RunConflict: they were not scored alike, or have no record in common, or the pairs are of others.
    """
    _refuse_unlike(a, b)
    pairwise = None if pairs_of_both is None else hold_beside(pairs_of_both, a, b)
    common = pair_up(a.results, b.results)
    pairs = common.take_alike()
    if not len(pairs):
        raise RunConflict(
            f"{a.run} and {b.run} have no record in common that was asked for alike "
            f"({len(common):,} have the same name); evaluate two runs of the same manifest"
        )
    scored = pairs.where(pairs.a.scored & pairs.b.scored)
    lines = [_compare(scored, name, scored.take(name)) for name in a.scales if name in b.scales]
    lines = _adjust([line for line in lines if line.records])
    overall_a, overall_b = scored.take(OVERALL)
    by_group = {
        group: _compare(
            scored, OVERALL, (np.where(scored.a.equal("group", group), overall_a, np.nan), overall_b)
        )
        for group in scored.a.distinct("group")
    }
    effort = [
        line for name, column in EFFORT.items() if (line := _compare_column(pairs, name, column)) is not None
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
        pairwise=pairwise,
        verdict=_say(lines, by_group, pairwise),
    )


def _refuse_unlike(a: Scores, b: Scores) -> None:
    for scores in (a, b):
        refuse_pairs(scores, "give it as --pairs beside two evaluations of scores")
    one, other = a.identity, b.identity
    unlike = [
        f"{name}: {one[name]} and {other[name]}"
        for name in one
        if one[name] != other[name] and [] not in (one[name], other[name])  # of nothing that was scored
    ]
    if unlike:
        raise RunConflict(
            f"{a.run} and {b.run} were not scored alike, so their scores don't compare. {'; '.join(unlike)}. "
            "Evaluate both with the same judge"
        )
    for scores, of in ((a, one), (b, other)):
        if len(of["judge"]) > 1 or len(of["protocol"]) > 1:
            raise RunConflict(f"{scores.run}: has scores of several judges: {of['judge']}, {of['protocol']}")


def _compare_column(pairs: Pairs, name: str, column: str) -> Line | None:
    a, b = pairs.a.numbers(column), pairs.b.numbers(column)
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any():
        return None
    return _compare(pairs, name, (a, b))


def _compare(pairs: Pairs, name: str, values: tuple[Floats, Floats]) -> Line:
    known = ~np.isnan(values[0] + values[1])
    a, b, clusters = values[0][known], values[1][known], pairs.a.clusters[known]
    differences = b - a
    interval = p = smallest = None
    note = ""
    try:
        p = find_sign_flip_p(differences, clusters, seed=SEED)
        interval = bootstrap_mean(differences, clusters, seed=SEED).interval
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
    if not axes:
        return list(lines)
    adjusted = dict(
        zip((line.name for line in axes), adjust_holm([line.p or 0.0 for line in axes]), strict=True)
    )
    return [Line(**{**vars(line), "p": adjusted.get(line.name, line.p)}) for line in lines]


def _count_failures(a: Bools, b: Bools) -> Failures:
    return Failures(int(a.sum()), int(b.sum()), compare_flags(a, b))


def _find_worst(pairs: Pairs) -> list[Regression]:
    a, b = pairs.take(OVERALL)
    order = np.argsort(b - a, kind="stable")[:_MOST_REGRESSIONS]
    names = pairs.a.table["of"]
    return [Regression(names[int(k)].as_py(), float(a[k]), float(b[k])) for k in order if b[k] < a[k]]


def _say(lines: Sequence[Line], groups: Mapping[str, Line], pairwise: Preferences | None) -> str:
    """The verdict in a sentence."""
    if not lines:
        words, sure = "no record has a score in both: scores can't say which is better", 0
    else:
        words, sure = _say_scores(lines[0], groups)
    if pairwise is not None and pairwise.preference is not None:
        words += f"; {_say_pairs(pairwise.preference, sure)}"
    return words[0].upper() + words[1:] + "."


def _say_scores(overall: Line, groups: Mapping[str, Line]) -> tuple[str, int]:
    """What scores say in words, and 1 where B is surely better, -1 where it is surely worse, else 0."""
    size = f"{show_signed(overall.difference)} overall"
    sure = (1 if overall.difference > 0 else -1) if overall.is_sure else 0
    if overall.interval is None:
        words = f"B is {size}; how sure that is can't be told"
    elif sure:
        words = f"B is {'better' if sure > 0 else 'worse'} ({size})"
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
    return words, sure


def _say_pairs(found: Preference, sure: int) -> str:
    """What pairs say, and whether scores say the same: `sure` as of `_say_scores`."""
    share = f"B in {100 * found.share:.0f} % of pairs, a tie being half"
    if found.interval is None:
        return f"how sure pairs are can't be told ({share})"
    if not found.favours:
        return f"pairs show no preference ({share})"
    words = f"pairs prefer {'B' if found.favours > 0 else 'A'} ({share})"
    if not sure:
        return f"but {words}"
    if sure == found.favours:
        return f"pairs agree: {share}"
    return f"but pairs contradict the scores: they prefer {'B' if found.favours > 0 else 'A'} ({share})"
