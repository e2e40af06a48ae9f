"""What the benchmarks of judges share: edits that a judge scores one by one, and people's verdict on pairs of
them.

Their manifest is for `evaluate`: a row for each edit. An edit that is in several pairs is judged once, as the
owners' scripts do. What people said is in `labels.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mira_batch.core.identity import content_hash
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError, Outcome
from mira_batch.evaluate.benchmarks.pairs import Pair
from mira_batch.evaluate.suites.evidence import Evidence, Judged
from mira_batch.evaluate.suites.items import Item
from mira_batch.storage.published import Picture, Reader

OVERALL = "overall"


@dataclass(slots=True)
class Candidates:
    """Edits as they are read: each is given once."""

    reader: Reader
    _seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By record_id: what it holds, and where it was read."""

    def add(
        self, place: str, name: str, instruction: str, original: Picture, edited: Picture
    ) -> Iterator[Item]:
        """The item of an edit, unless it was there before.

        Args:
            place: where it is.
            name: its record_id. Two edits of one name must be the same.
            instruction: what was asked for.
            original, edited: before and after.
        """
        held = content_hash(instruction, original.name, edited.name)
        if name not in self._seen:
            self._seen[name] = held, place
            yield Item(name, instruction, {"image": edited, "original": original}, {})
        elif self._seen[name][0] != held:
            self.reader.problems.add(
                place,
                f"{name} has other images or another instruction than at {self._seen[name][1]}; correct it",
            )


@dataclass(frozen=True, slots=True)
class Scored:
    """A judge's scores of several edits."""

    outcome: Outcome
    """judged where each has one; missing where one has no image or wasn't asked about; else failed."""
    scores: tuple[float, ...] | None


def read_scores_of(evidence: Evidence, names: Iterable[str], axis: str) -> Scored:
    """The scores of some edits on an axis.

    Args:
        evidence: all scores.
        names: record_ids of the edits.
        axis: which of the judge's axes.
    """
    edits: list[Judged] = [evidence.items[name] for name in names]
    outcomes = {edit.outcome for edit in edits}
    for outcome in (Outcome.missing, Outcome.failed):
        if outcome in outcomes:
            return Scored(outcome, None)
    return Scored(Outcome.judged, tuple(edit.values[axis] for edit in edits))


def make_pairs(evidence: Evidence, chosen: Mapping[str, str]) -> list[Pair]:
    """People's verdicts on pairs with a judge's scores, of the dimensions that it has an axis for.

    Args:
        evidence: the judge's scores.
        chosen: axis by dimension.
    """
    pairs = []
    for number, label in enumerate(evidence.prepared.labels):
        dimension = label["dimension"]
        if axis := chosen.get(dimension):
            found = read_scores_of(evidence, (label["better"], label["worse"]), axis)
            better, worse = found.scores or (None, None)
            more = label.get("task_type", ""), label.get("tie", False)
            pairs.append(Pair(str(number), dimension, found.outcome, better, worse, *more))
    return pairs


def choose_axes(
    evidence: Evidence, dimensions: Mapping[str, tuple[str, ...]], given: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Which of a judge's axes is held against people's verdicts on a dimension.

    Args:
        evidence: the judge's scores.
        dimensions: of the benchmark, each with the names that judges have for it.
        given: axis by dimension, where the user names one.

    Returns:
        Axis by dimension, and in words which dimensions have none.

    Raises:
        BenchmarkError: the user names a dimension or an axis that there isn't.
    """
    known = list(dict.fromkeys(name for item in evidence.items.values() for name in item.values)) or [OVERALL]
    for dimension, axis in given.items():
        if dimension not in dimensions:
            raise BenchmarkError(f"--axis: {dimension!r} is no dimension; there are {', '.join(dimensions)}")
        if axis not in known:
            raise BenchmarkError(f"--axis: this judge has no axis {axis!r}; it has {', '.join(known)}")
    chosen = {
        dimension: axis
        for dimension, names in dimensions.items()
        if (axis := given.get(dimension) or next((name for name in names if name in known), None)) is not None
    }
    lacking = [
        f"no table of {name}: this judge has no axis for it; --axis {name}={OVERALL} takes its overall score"
        for name in dimensions
        if name not in chosen
    ]
    return chosen, lacking
