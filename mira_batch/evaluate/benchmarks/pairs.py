"""Benchmarks of judges: how often a judge ranks edits as people did. Three of them, two of one name.

`aggregate_editscore` is EditReward-Bench as EditScore's authors publish it, `aggregate_tiger` that of
TIGER-Lab, `aggregate_compass` EditReward-Compass. A pair of which a score is not there counts as failed or
missing, and neither as right nor as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mira_batch.evaluate.benchmarks.aggregate import (
    Aggregate,
    BenchmarkError,
    Outcome,
    average_groups,
    check_item,
    count_outcomes,
    refuse_twice,
    refuse_unknown,
)

EDITSCORE_GROUPS = {
    "object": ("subject-add", "subject-remove", "subject-replace"),
    "appearance": ("color_alter", "material_alter", "style_change", "tone_transfer"),
    "scene": ("background_change", "extract"),
    "advanced": ("ps_human", "text_change", "motion_change", "compose"),
}
EDITSCORE_TYPES = tuple(name for names in EDITSCORE_GROUPS.values() for name in names)
EDITSCORE_DIMENSIONS = ("prompt_following", "consistency", "overall")
COMPASS_DIMENSIONS = ("IA", "VC", "VQ")
"""As its data call them."""
COMPASS_TIE = 1e-5
"""Scores closer than that are a tie."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two edits of one image, with people's verdict and a judge's scores."""

    key: str
    dimension: str
    outcome: Outcome
    better: float | None = None
    """Score of the edit that people prefer, or of the first one of a tie; None unless judged."""
    worse: float | None = None
    """Score of the other one."""
    task_type: str = ""
    """EditScore's only."""
    tie: bool = False
    """Whether people see no difference. Compass only."""


@dataclass(frozen=True, slots=True)
class EditScoreTable:
    """Accuracy on one dimension, 0 to 1."""

    types: Mapping[str, Aggregate]
    """By task type, in the order of the groups."""
    groups: Mapping[str, Aggregate]
    """Unweighted means of their types."""
    average: Aggregate
    """Unweighted mean of the 13 types: the benchmark's figure."""
    ties: int
    """Pairs of equal scores, which count as wrong."""


def aggregate_editscore(pairs: Sequence[Pair]) -> dict[str, EditScoreTable]:
    """EditReward-Bench of EditScore's authors: right is only a strictly higher score of the preferred edit.

    Args:
        pairs: all of the benchmark, whatever became of them.

    Returns:
        A table for each of the three dimensions.

    Raises:
        BenchmarkError: an unknown type or dimension, a tie by people, a pair that comes twice, or a score
            that is none.
    """
    _check_pairs(pairs, EDITSCORE_DIMENSIONS)
    for pair in pairs:
        refuse_unknown(pair.key, pair.task_type, EDITSCORE_TYPES, "task type")
        if pair.tie:
            raise BenchmarkError(f"{pair.key}: a tie by people; this benchmark has none")
    return {
        dimension: _tabulate_editscore([pair for pair in pairs if pair.dimension == dimension])
        for dimension in EDITSCORE_DIMENSIONS
    }


def _tabulate_editscore(pairs: Sequence[Pair]) -> EditScoreTable:
    types = {
        name: _measure_accuracy([pair for pair in pairs if pair.task_type == name], lambda apart: apart > 0)
        for name in EDITSCORE_TYPES
    }
    groups = {name: average_groups(types, within) for name, within in EDITSCORE_GROUPS.items()}
    ties = sum(pair.outcome is Outcome.judged and _subtract(pair) == 0 for pair in pairs)
    return EditScoreTable(types, groups, average_groups(types, EDITSCORE_TYPES), ties)


@dataclass(frozen=True, slots=True)
class CompassTable:
    """Accuracy, 0 to 1."""

    dimensions: Mapping[str, Aggregate]
    average: Aggregate
    """Unweighted mean of the three: the benchmark's figure."""


def aggregate_compass(pairs: Sequence[Pair]) -> CompassTable:
    """EditReward-Compass: a winner must score higher, and scores of a tie be less than 1e-5 apart.

    Args:
        pairs: all of the benchmark, whatever became of them.

    Raises:
        BenchmarkError: an unknown dimension, a pair that comes twice, or a score that is none.
    """
    _check_pairs(pairs, COMPASS_DIMENSIONS)
    dimensions = {}
    for name in COMPASS_DIMENSIONS:
        chosen = [pair for pair in pairs if pair.dimension == name]
        right = [
            abs(_subtract(pair)) < COMPASS_TIE if pair.tie else _subtract(pair) > 0
            for pair in chosen
            if pair.outcome is Outcome.judged
        ]
        dimensions[name] = count_outcomes(chosen, [float(each) for each in right])
    return CompassTable(dimensions, average_groups(dimensions, COMPASS_DIMENSIONS))


def _check_pairs(pairs: Sequence[Pair], dimensions: Iterable[str]) -> None:
    refuse_twice((pair.key, pair.dimension) for pair in pairs)
    for pair in pairs:
        refuse_unknown(pair.key, pair.dimension, dimensions, "dimension")
        check_item(pair.key, pair.outcome, (pair.better, pair.worse), -math.inf, math.inf)
        if pair.outcome is Outcome.judged and not math.isfinite(_subtract(pair)):
            raise BenchmarkError(f"{pair.key}: an infinite score. Note it as failed")


def _measure_accuracy(pairs: Sequence[Pair], is_right: Callable[[float], bool]) -> Aggregate:
    judged = [pair for pair in pairs if pair.outcome is Outcome.judged]
    return count_outcomes(pairs, [float(is_right(_subtract(pair))) for pair in judged])


def _subtract(pair: Pair) -> float:
    return (pair.better or 0.0) - (pair.worse or 0.0)


@dataclass(frozen=True, slots=True)
class RankedGroup:
    """Two to four edits of one image, with people's ranking and a judge's scores."""

    key: str
    outcome: Outcome
    labels: tuple[int, ...]
    """What people say of each pair, in the order of `itertools.combinations`: 1 the first is better, -1 the
    second, 0 a tie."""
    scores: tuple[float, ...] | None = None
    """Of each edit; None unless judged."""

    @property
    def differences(self) -> list[float]:
        """Of the scores, by pair in the order of the labels."""
        return [one - other for one, other in combinations(self.scores or (), 2)]


@dataclass(frozen=True, slots=True)
class TigerRow:
    """Groups of one size, or all of them."""

    pairs: Aggregate
    """Accuracy over pairs, 0 to 1, counted in pairs."""
    groups: Aggregate
    """Share of groups of which all pairs are right."""
    tie: float | None
    """The largest difference of scores that is a tie: fitted. None where people have no tie."""


@dataclass(frozen=True, slots=True)
class TigerTable:
    """Accuracies by number of edits, and of all."""

    sizes: Mapping[int, TigerRow]
    overall: TigerRow


def aggregate_tiger(groups: Sequence[RankedGroup]) -> TigerTable:
    """EditReward-Bench of TIGER-Lab, by number of edits and over all.

    Where people have ties, pairs are counted with a threshold that is fitted to them, and the accuracy is the
    best that any has: it flatters the judge a little, as the published figures do. Over all it is fitted
    anew. Where they have none, equal scores are wrong. A group is right if each of its preferences has the
    higher score and each of its ties lies within the threshold of its size; that threshold turns no
    preference of a group into a tie. Equal scores are no preference: the published script gives it to the
    later edit.

    Args:
        groups: all of the benchmark, whatever became of them.

    Raises:
        BenchmarkError: a group that comes twice, or whose labels or scores are not as many as its edits have
            pairs.
    """
    refuse_twice(group.key for group in groups)
    sizes = sorted({_count_edits(group) for group in groups})
    rows = {}
    right: dict[str, bool] = {}
    for size in sizes:
        chosen = [group for group in groups if _count_edits(group) == size]
        accuracy, tie = _measure_pairs(chosen)
        judged = [group for group in chosen if group.outcome is Outcome.judged]
        right |= {group.key: _is_right(group, tie) for group in judged}
        whole = count_outcomes(chosen, [float(right[group.key]) for group in judged])
        rows[size] = TigerRow(accuracy, whole, tie)
    accuracy, tie = _measure_pairs(groups)
    return TigerTable(
        rows, TigerRow(accuracy, count_outcomes(groups, [float(x) for x in right.values()]), tie)
    )


def _count_edits(group: RankedGroup) -> int:
    edits = next((k for k in (2, 3, 4) if math.comb(k, 2) == len(group.labels)), 0)
    if not edits or not set(group.labels) <= {-1, 0, 1}:
        raise BenchmarkError(f"{group.key}: two to four edits have 1, 3 or 6 labels, each 1, 0 or -1")
    check_item(group.key, group.outcome, group.scores or (None,), -math.inf, math.inf)
    if group.scores is not None and (len(group.scores) != edits or not all(map(math.isfinite, group.scores))):
        raise BenchmarkError(f"{group.key}: {edits} edits need as many scores, each a number")
    return edits


def _measure_pairs(groups: Sequence[RankedGroup]) -> tuple[Aggregate, float | None]:
    labels: list[int] = []
    differences: list[float] = []
    counts = dict.fromkeys(Outcome, 0)
    for group in groups:
        counts[group.outcome] += len(group.labels)
        if group.outcome is Outcome.judged:
            labels += group.labels
            differences += group.differences
    value, tie = fit_tie(labels, differences) if labels else (None, None)
    return Aggregate(value, counts[Outcome.judged], counts[Outcome.failed], counts[Outcome.missing]), tie


def _is_right(group: RankedGroup, tie: float | None) -> bool:
    return all(
        apart * label > 0 if label else tie is not None and abs(apart) <= tie
        for label, apart in zip(group.labels, group.differences, strict=True)
    )


def fit_tie(labels: Sequence[int], differences: Sequence[float]) -> tuple[float, float | None]:
    """Accuracy over pairs with ties, at the threshold that makes it highest.

    That is the calibration of ties of Deutsch et al., arXiv 2305.14324. A pair is right if people see a tie
    and |difference| <= threshold, or prefer one and it scores higher by more than that. All pairs of one
    difference pass the threshold together.

    Args:
        labels: what people say of each pair: 1 the first is better, -1 the second, 0 a tie.
        differences: score of the first less that of the second, by pair.

    Returns:
        The accuracy, 0 to 1, and the threshold, the smallest of equally good ones, 0 for equal scores alone.
        Where no label is a tie nothing is fitted: the threshold is None, and equal scores are wrong.

    Raises:
        BenchmarkError: there are no pairs, or not as many labels as differences.
    """
    if not labels or len(labels) != len(differences):
        raise BenchmarkError(f"{len(labels)} labels for {len(differences)} pairs: one for each is needed")
    right = sum(label * apart > 0 for label, apart in zip(labels, differences, strict=True))
    if 0 not in labels:
        return right / len(labels), None
    best, threshold = -1, 0.0
    gains: dict[float, int] = {0.0: 0}
    for label, apart in zip(labels, differences, strict=True):
        gain = 1 if label == 0 else -1 if label * apart > 0 else 0
        gains[abs(apart)] = gains.get(abs(apart), 0) + gain
    for size in sorted(gains):
        right += gains[size]
        if right > best:
            best, threshold = right, size
    return best / len(labels), threshold
