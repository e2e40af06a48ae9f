"""Which held-out tasks a way solved, and what it comes to over tasks and seeds: counts and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import UserError
from mira_batch.core.types import ErrorKind
from mira_batch.evaluate.scores import OVERALL, read_scores
from mira_batch.evaluate.statistics import Interval, bootstrap_mean, find_wilson_interval
from mira_batch.evaluate.statistics.special import find_t_quantile
from mira_batch.storage.run.results import read_outputs

OWN_FAULTS = frozenset({ErrorKind.malformed_action.value})
"""Failures that are the policy's own doing: such a task is not solved. Any other is nobody's figure."""
Solved = Mapping[str, float]
"""Whether each task was solved, 0 or 1, by its name; or another share of it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of tasks, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float

    def dump(self) -> dict[str, float]:
        """As plain JSON data."""
        return {"value": self.value, "low": self.low, "high": self.high}


def read_solved(run: str, evaluation: str, tasks: int) -> dict[str, Any]:
    """What came of a way's run: `solved`, by task; `edits` of a task; and `ends`, how many ended how.

    Args:
        run: directory of the run.
        evaluation: directory of its evaluation, by the truth.
        tasks: how many there must be.

    Raises:
        UserError: a task is missing, or failed by something else than its policy's answers.
    """
    rows = read_outputs(run, columns=["record_id", "status", "stop_reason", "error_kind", "num_steps"])
    judged = {
        row["of"]: row["values"].get(OVERALL) for row in read_scores(evaluation, StorageConfig()).results
    }
    solved: dict[str, bool] = {}
    ends: dict[str, int] = {}
    edits = 0
    for row in rows.to_pylist():
        name, score = row["record_id"], judged.get(row["record_id"])
        failed = row["status"] == "failed"
        if (failed and row["error_kind"] not in OWN_FAULTS) or (not failed and score is None):
            why = row["error_kind"] if failed else "the judge gave no score"
            raise UserError(f"{run}: {name}: {why}; what is not known is no figure. Delete the run and go on")
        solved[name] = not failed and score == 1.0
        edits += row["num_steps"]
        end = row["error_kind"] if failed else row["stop_reason"]
        ends[end] = ends.get(end, 0) + 1
    if len(solved) != tasks:
        raise UserError(f"{run}: has {len(solved)} of {tasks} tasks; delete the run and go on")
    return {"solved": solved, "edits": edits / tasks, "ends": ends}


def estimate_rate(seeds: Sequence[Solved]) -> Rate:
    """The share of tasks that a way solves: of one seed with Wilson's interval over tasks, of several their
    mean with Student's interval over seeds.

    Args:
        seeds: of each seed, the same tasks.
    """
    rates = [fmean(each.values()) for each in seeds]
    if len(rates) == 1:
        found = find_wilson_interval(round(sum(seeds[0].values())), len(seeds[0]))
        return Rate(rates[0], found.low, found.high)
    return _estimate_over_seeds(rates, Interval(0.0, 1.0))


def estimate_gain(b: Sequence[Solved], a: Sequence[Solved]) -> Rate:
    """How many more tasks way B solves than A, of the same tasks: of one seed by the bootstrap over tasks, of
    several by their mean with Student's interval over seeds.

    Args:
        b, a: of each seed.
    """
    differences = [
        {name: float(ours[name]) - float(theirs[name]) for name in ours}
        for ours, theirs in zip(b, a, strict=True)
    ]
    if len(differences) == 1:
        (only,) = differences
        found = bootstrap_mean(list(only.values()), list(only), seed=0)
        return Rate(found.value, found.interval.low, found.interval.high)
    return _estimate_over_seeds([fmean(each.values()) for each in differences], Interval(-1.0, 1.0))


def estimate_mean(values: Sequence[float]) -> Rate:
    """A share that each seed has one of: their mean with Student's interval; of one seed without any.

    Args:
        values: of each seed.
    """
    if len(values) == 1:
        return Rate(values[0], 0.0, 1.0)
    return _estimate_over_seeds(values, Interval(0.0, 1.0))


def _estimate_over_seeds(values: Sequence[float], bounds: Interval) -> Rate:
    mean = fmean(values)
    half = find_t_quantile(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return Rate(mean, max(bounds.low, mean - half), min(bounds.high, mean + half))


@dataclass(frozen=True, slots=True)
class Target:
    """What has to be shown."""

    title: str
    way: str
    against: str | None
    """None: the way's own rate is held against the limit."""
    least: float


TARGETS = (
    Target("SFT, closed loop", "closed", None, 0.70),
    Target("closed loop over open-loop plan", "closed", "plan", 0.10),
    Target("open-loop plan over single shot", "plan", "single", 0.10),
    Target("what blanking the current image costs", "closed", "blank", 0.15),
    Target("GRPO over the SFT it began with, 35 % of edits lost", "grpo-poor", "start-poor", 0.10),
)


def check_target(target: Target, solved: Mapping[str, Sequence[Solved]]) -> Rate:
    """The figure that a target is about.

    Args:
        target: which.
        solved: of each way, seed by seed.
    """
    ours = solved[target.way]
    return estimate_rate(ours) if target.against is None else estimate_gain(ours, solved[target.against])
