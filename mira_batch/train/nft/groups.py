"""Which records an iteration is of, and which of their samples teach anything: pure functions.

The samples of an image and an instruction are a group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from mira_batch.config.editor_nft import GroupFilterConfig


class Fate(StrEnum):
    """What becomes of a group."""

    USED = "used"
    """It is learned from."""
    ALONE = "alone"
    """Fewer than two of its samples have a reward: there is nothing to hold them against."""
    SOLVED = "solved"
    """Its mean reward is above the limit: there is nothing left to learn."""
    NARROW = "narrow"
    """Its rewards differ less than the limit says."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What becomes of the samples of an iteration. Counts add up to their number."""

    used: tuple[bool, ...]
    """Which samples are learned from."""
    solved: frozenset[str]
    """Names of the groups that are solved, and differ too little as well: their records are drawn no more."""
    samples: dict[str, int]
    """Samples with a reward, by the fate of their group."""
    groups: dict[str, int]
    """Groups by their fate."""

    def describe(self) -> dict[str, Any]:
        """The counts as figures."""
        groups = {f"groups_{fate}": count for fate, count in self.groups.items()}
        return {"groups": sum(self.groups.values()), **groups, **self.samples}


def filter_groups(
    rewards: Sequence[float | None], groups: Sequence[str], limits: GroupFilterConfig
) -> Filtered:
    """Which samples are learned from (Edit-R1, arXiv 2510.16888: low-variance group filtering). The spread is
    the standard deviation of a group's rewards, without Bessel's correction. A group whose mean is high and
    whose spread is not small is left out this time alone.

    Args:
        rewards: of each sample; None: it has none.
        groups: the name of each sample's group.
        limits: what a group has to show.
    """
    members: dict[str, list[float]] = {}
    for group, reward in zip(groups, rewards, strict=True):
        given = members.setdefault(group, [])
        if reward is not None:
            given.append(reward)
    fates = {group: _judge_group(values, limits) for group, values in members.items()}
    samples, counts = dict.fromkeys(map(str, Fate), 0), dict.fromkeys(map(str, Fate), 0)
    for group, fate in fates.items():
        counts[fate] += 1
        samples[fate] += len(members[group])
    used = tuple(
        reward is not None and fates[group] == Fate.USED
        for group, reward in zip(groups, rewards, strict=True)
    )
    solved = frozenset(
        group
        for group, fate in fates.items()
        if fate == Fate.SOLVED and _differ_little(members[group], limits, otherwise=True)
    )
    return Filtered(used, solved, samples, counts)


def _judge_group(rewards: Sequence[float], limits: GroupFilterConfig) -> Fate:
    if len(rewards) < 2:
        return Fate.ALONE
    if limits.solved_above is not None and fmean(rewards) > limits.solved_above:
        return Fate.SOLVED
    return Fate.NARROW if _differ_little(rewards, limits, otherwise=False) else Fate.USED


def _differ_little(rewards: Sequence[float], limits: GroupFilterConfig, *, otherwise: bool) -> bool:
    """Whether the spread is below its limit; where there is none, what `otherwise` says."""
    return otherwise if limits.least_spread is None else pstdev(rewards) < limits.least_spread


def draw_unsolved(
    count: int, seed: int, begin: int, most: int, solved: Collection[int]
) -> tuple[tuple[int, ...], int]:
    """Places of the records of an iteration, and where the next one begins.

    Rounds over all records are walked through, each in another order. Solved records are passed over; so is
    one that the iteration has drawn already, at the end of the round before.

    Args:
        count: of all records.
        seed: of the training.
        begin: how many places of all rounds earlier iterations walked over.
        most: so many are drawn; fewer where fewer are unsolved.
        solved: places that are passed over.
    """
    most = min(most, count - len(set(solved)))
    found: list[int] = []
    at = begin
    while len(found) < most:
        turn, step = divmod(at, count)
        order = np.random.Generator(np.random.PCG64([seed, turn, 0x9F7])).permutation(count)
        for place in order[step:].tolist():
            at += 1
            if place not in solved and place not in found:
                found.append(place)
            if len(found) == most:
                break
    return tuple(found), at
