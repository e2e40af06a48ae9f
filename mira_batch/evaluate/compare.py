"""One evaluation against another, record by record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.evaluate.scores import OVERALL, Scores, cluster_of, is_edit_failure
from mira_batch.evaluate.statistics import (
    Discordance,
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
_GATE = re.compile(r"\s*(?P<name>[^<>=\s][^<>=]*?)\s*(?P<sign>>=|<=)\s*(?P<limit>[+-]?\d+(?:\.\d+)?)\s*")
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


@dataclass(frozen=True)
class Gate:
    """What a difference must be for a comparison to pass."""

    name: str
    sign: str
    limit: float
    text: str

    def check(self, comparison: Comparison) -> tuple[bool, str]:
        """Whether it passes, and in words why. What counts is the worse end of the interval: a difference
        that can't be told from one beyond the limit doesn't pass.

        Raises:
            ConfigError: the comparison has no such figure, or no interval for it.
        """
        line = comparison.find_line(self.name)
        if line is None:
            known = ", ".join(line.name for line in (*comparison.scores, *comparison.effort))
            raise ConfigError(f"--gate {self.text}: there is no figure {self.name!r}; there are {known}")
        if line.interval is None:
            raise ConfigError(f"--gate {self.text}: {self.name} has no interval: {line.note}")
        end = line.interval.low if self.sign == ">=" else line.interval.high
        passed = end >= self.limit if self.sign == ">=" else end <= self.limit
        side = "low" if self.sign == ">=" else "high"
        word = "passed" if passed else "not passed"
        return passed, f"gate {self.text}: {word}; the {side} end of the interval is {show_signed(end)}"


def parse_gate(text: str) -> Gate:
    """A condition such as `overall>=-0.05`.

    Raises:
        ConfigError: it is none.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--gate {text!r}: give a name, >= or <=, and a number: overall>=-0.05")
    return Gate(found["name"], found["sign"], float(found["limit"]), text.strip())


def show_signed(value: float) -> str:
    """A difference as it is printed."""
    return f"{value:+.3f}".replace("-", _MINUS)


def compare(a: Scores, b: Scores) -> Comparison:
    """Compare two evaluations.

    Raises:
        RunConflict: they were not scored alike, or have no record in common.
    """
    _refuse_unlike(a, b)
    of_a, of_b = ({row["of"]: row for row in scores.results} for scores in (a, b))
    common = [(of_a[name], of_b[name]) for name in of_a if name in of_b]
    pairs = [(one, other) for one, other in common if _is_same_question(one, other)]
    if not pairs:
        raise RunConflict(
            f"{a.run} and {b.run} have no record in common that was asked for alike "
            f"({len(common):,} have the same name); evaluate two runs of the same manifest"
        )
    scored = [(one, other) for one, other in pairs if one["values"] and other["values"]]
    names = list(dict.fromkeys(n for one, other in scored for n in one["values"] if n in other["values"]))
    lines = [_compare(scored, name, lambda row, name=name: row["values"].get(name)) for name in names]
    lines = _adjust(lines)
    groups = sorted({one["group"] for one, _ in scored if one["group"] is not None})
    by_group = {
        group: _compare([p for p in scored if p[0]["group"] == group], OVERALL, _take_overall)
        for group in groups
    }
    effort = [
        line
        for name, column in (("steps", "num_steps"), ("seconds", "edit_seconds"), ("cost", "edit_cost"))
        if (line := _compare_column(pairs, name, column)) is not None
    ]
    return Comparison(
        a=a.run,
        b=b.run,
        paired=len(pairs),
        only_a=len(of_a) - len(common),
        only_b=len(of_b) - len(common),
        asked_otherwise=len(common) - len(pairs),
        scored=len(scored),
        scores=lines,
        groups=by_group,
        effort=effort,
        no_result=_count_failures(pairs, is_edit_failure),
        judge_failed=_count_failures(pairs, lambda row: not (row["values"] or is_edit_failure(row))),
        worst=_find_worst(scored),
        verdict=_say(lines, by_group),
    )


def _refuse_unlike(a: Scores, b: Scores) -> None:
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


def _is_same_question(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["instruction"] != other["instruction"]:
        return False
    digests = one["source_digest"], other["source_digest"]
    return digests[0] == digests[1] if all(digests) else one["source"] == other["source"]


def _take_overall(row: Mapping[str, Any]) -> float | None:
    return row["values"].get(OVERALL)


Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _compare_column(pairs: Pairs, name: str, column: str) -> Line | None:
    known = [p for p in pairs if p[0][column] is not None and p[1][column] is not None]
    if not known or (name == "cost" and not any(row[column] for pair in known for row in pair)):
        return None
    return _compare(known, name, lambda row: float(row[column]))


def _compare(pairs: Pairs, name: str, take: Callable[[Mapping[str, Any]], float | None]) -> Line:
    found = [(take(one), take(other), cluster_of(one)) for one, other in pairs]
    known = [(x, y, cluster) for x, y, cluster in found if x is not None and y is not None]
    a, b = (np.array([row[k] for row in known], float) for k in (0, 1))
    clusters, differences = [row[2] for row in known], b - a
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
        len(known),
        len(set(clusters)),
        note,
    )


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


def _count_failures(pairs: Pairs, is_failed: Callable[[Mapping[str, Any]], bool]) -> Failures:
    a, b = (np.array([is_failed(pair[k]) for pair in pairs], bool) for k in (0, 1))
    return Failures(int(a.sum()), int(b.sum()), compare_flags(a, b))


def _find_worst(pairs: Pairs) -> list[Regression]:
    found = [(one["of"], one["values"].get(OVERALL), other["values"].get(OVERALL)) for one, other in pairs]
    worse = [Regression(name, a, b) for name, a, b in found if a is not None and b is not None and b < a]
    return sorted(worse, key=lambda each: (each.b - each.a, each.record_id))[:_MOST_REGRESSIONS]


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
