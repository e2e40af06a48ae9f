"""From rewards to advantages: each answer is held against the others to the very same question, or each step
against what else could have come of its state.

Owns the arithmetic and its counts. A judge that failed gives no reward, and no number is put in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from mira_batch.core.identity import content_hash
from mira_batch.evaluate.statistics import find_t_quantile

EPSILON = 1e-4
"""Added to a spread before it divides, as the published trainers do."""
_ALIKE = 1e-8
"""Rewards that are no further apart are the same."""
Scale = Literal["group", "batch", "none"]
"""What a reward's distance from its group's mean is divided by: the spread of its group (GRPO), that of all
rewards of the batch, or nothing (Dr. GRPO)."""


@dataclass(frozen=True, slots=True)
class Advantages:
    """The advantages of a batch, and what became of each of its answers. Counts add up to its length."""

    values: tuple[float | None, ...]
    """By answer; None: it teaches nothing, and is left out."""
    used: int
    """Answers that have one."""
    unjudged: int
    """Answers without a reward."""
    alike: int
    """Answers with a reward in groups whose rewards are all the same."""
    alone: int
    """Answers that are the only one with a reward in their group: nothing to hold them against."""
    groups: int
    """Groups, in all."""
    alike_groups: int
    """Of these, groups whose rewards are all the same: dropped."""
    alone_groups: int
    """Of these, groups with fewer than two rewards: dropped."""


def name_group(image_digest: str, prompt: str) -> str:
    """The name of the question that an answer is to. Two images under one prompt are two questions.

    Args:
        image_digest: digest of what the policy was shown, all images of it.
        prompt: the words that it was shown.
    """
    return content_hash(image_digest, prompt)


def measure_advantages(
    rewards: Sequence[float | None], groups: Sequence[str], scale: Scale = "group"
) -> Advantages:
    """The advantage of each answer: A = (r - mean of its group) / (spread + 1e-4) (GRPO, arXiv 2402.03300,
    section 4.1.2; without the division: Dr. GRPO, arXiv 2503.20783).

    Mean and spread are of the rewards that are there. The spread is the sample's standard deviation (n - 1).

    Args:
        rewards: of each answer; None or NaN: it could not be judged.
        groups: the name of each answer's group, from `name_group`.
        scale: what divides.

    Raises:
        ValueError: rewards and groups differ in number, or a reward is infinite.
    """
    if len(rewards) != len(groups):
        raise ValueError(f"{len(rewards)} rewards and {len(groups)} groups; each answer has one of both")
    given = [None if reward is None or math.isnan(reward) else float(reward) for reward in rewards]
    if endless := [place for place, reward in enumerate(given) if reward is not None and math.isinf(reward)]:
        raise ValueError(f"the reward of answer {endless[0]} is infinite")
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    there = [reward for reward in given if reward is not None]
    of_batch = stdev(there) if len(there) > 1 else 0.0
    values: list[float | None] = [None] * len(given)
    alike, alone, alike_groups, alone_groups = 0, 0, 0, 0
    for places in members.values():
        judged = {place: reward for place in places if (reward := given[place]) is not None}
        if len(judged) < 2:
            alone, alone_groups = alone + len(judged), alone_groups + 1
        elif max(judged.values()) - min(judged.values()) <= _ALIKE:
            alike, alike_groups = alike + len(judged), alike_groups + 1
        else:
            mean = fmean(judged.values())
            divisor = {"group": stdev(judged.values()) + EPSILON, "batch": of_batch + EPSILON, "none": 1.0}
            for place, reward in judged.items():
                values[place] = (reward - mean) / divisor[scale]
    used = sum(value is not None for value in values)
    unjudged = len(given) - len(there)
    return Advantages(tuple(values), used, unjudged, alike, alone, len(members), alike_groups, alone_groups)


@dataclass(frozen=True, slots=True)
class Value:
    """How good a state is: the mean score of the ends that were reached from it."""

    mean: float | None
    """None: no end of it has a score."""
    error: float | None
    """Standard error of the mean: s / sqrt(n). None of fewer than two scores."""
    count: int
    """Scores that it is the mean of."""


KNOWN_END = 0.0
"""The standard error of the value of an end that is there: nothing more is drawn."""


@dataclass(frozen=True, slots=True)
class StepAdvantage:
    """What a step was worth: V(after it) - V(before it)."""

    value: float | None
    """None: one of both values is not known."""
    error: float | None
    """Standard error of the difference: sqrt(e_before^2 + e_after^2)."""
    low: float | None
    high: float | None
    """The interval that the difference lies in."""


def measure_value(scores: Sequence[float | None]) -> Value:
    """The value of a state.

    Args:
        scores: of the ends that were reached from it; None: it could not be judged, and is left out.
    """
    there = [score for score in scores if score is not None]
    error = stdev(there) / math.sqrt(len(there)) if len(there) > 1 else None
    return Value(fmean(there) if there else None, error, len(there))


def measure_steps(values: Sequence[Value], confidence: float = 0.95) -> list[StepAdvantage]:
    """The advantage of each step: the difference of the values of the states around it, with Welch's interval
    (Biometrika 34, 1947) and its degrees of freedom by Satterthwaite. The intervals hold for all steps
    together, by Bonferroni.

    Args:
        values: of the states in their order, one more than there are steps. An end that is there has the
            error `KNOWN_END` and counts as one score.
        confidence: that all intervals hold.
    """
    pairs = list(zip(values, values[1:], strict=False))
    known = sum(a.mean is not None and b.mean is not None for a, b in pairs)
    share = 1 - (1 - confidence) / (2 * max(known, 1))
    return [_subtract(after, before, share) for before, after in pairs]


def _subtract(after: Value, before: Value, share: float) -> StepAdvantage:
    if after.mean is None or before.mean is None:
        return StepAdvantage(None, None, None, None)
    difference = after.mean - before.mean
    if after.error is None or before.error is None:
        return StepAdvantage(difference, None, None, None)
    squares = [(each.error or 0.0) ** 2 for each in (before, after)]
    error = math.sqrt(sum(squares))
    if not error:
        return StepAdvantage(difference, 0.0, difference, difference)
    parts = zip(squares, (before, after), strict=True)
    degrees = sum(squares) ** 2 / sum(square**2 / (each.count - 1) for square, each in parts if square)
    width = find_t_quantile(share, degrees) * error
    return StepAdvantage(difference, error, difference - width, difference + width)


def find_ruin(steps: Sequence[StepAdvantage], min_drop: float = 0.0) -> int | None:
    """The step that ruined a trajectory: where the value fell most, if it surely fell.

    Args:
        steps: their advantages.
        min_drop: smaller falls ruin nothing.

    Returns:
        Its number; None: no step can be named, since the largest fall is too small or its interval reaches 0.
    """
    known = [(step.value, number) for number, step in enumerate(steps) if step.value is not None]
    value, number = min(known, default=(0.0, -1))
    high = steps[number].high if known else None
    return number if value < 0 and -value >= min_drop and high is not None and high < 0 else None
