"""From rewards to advantages: each answer is held against the others to the very same question.

Owns the arithmetic and its counts. A judge that failed gives no reward, and no number is put in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from mira_batch.core.identity import content_hash

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
