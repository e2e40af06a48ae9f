"""Which answers are held against which others, and what each is to learn: pure functions.

With credit `trajectory` the rollouts of a question are a group, and each answer of a rollout has its
advantage. Other ways to give credit differ in this file alone: they make other groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from mira_batch.train.advantages import Advantages, Scale, measure_advantages
from mira_batch.train.grpo.rewards import Reward, Rollout


def credit_rollouts(rollouts: Sequence[Rollout], rewards: Sequence[Reward], scale: Scale) -> Advantages:
    """The advantage of each rollout within its group; None where it teaches nothing.

    Args:
        rollouts: of an iteration.
        rewards: of each.
        scale: what a distance from the mean is divided by.
    """
    values = share_luck(rollouts, rewards)
    return measure_advantages(values, [rollout.group for rollout in rollouts], scale)


def share_luck(rollouts: Sequence[Rollout], rewards: Sequence[Reward]) -> list[float | None]:
    """The rewards, with the mean of them for proposals of one state that came to the same edit by answers of
    the same kinds: what these differ by is what the editor made of it, for which no answer is to be blamed.

    The mean is as good an estimate of what the edit is worth there, of less variance; without it a policy
    that is sure of its edit learns from nothing but luck.

    Args:
        rollouts: of an iteration.
        rewards: of each; None stays None, and counts in no mean.
    """
    names = [(each.group, each.proposed, each.kinds) for each in rollouts]
    alike: dict[tuple[str, str | None, tuple[str, ...]], list[float]] = {}
    for name, reward in zip(names, rewards, strict=True):
        if reward.value is not None:
            alike.setdefault(name, []).append(reward.value)
    return [
        fmean(alike[name]) if name[1] is not None and reward.value is not None else reward.value
        for name, reward in zip(names, rewards, strict=True)
    ]


def describe_groups(advantages: Advantages) -> dict[str, Any]:
    """The counts of an iteration's groups. Rollouts are used, alike, alone or left out."""
    return {
        "groups": advantages.groups,
        "groups_alike": advantages.alike_groups,
        "groups_alone": advantages.alone_groups,
        "used": advantages.used,
        "alike": advantages.alike,
        "alone": advantages.alone,
    }


def draw_records(count: int, seed: int, iteration: int, each: int) -> tuple[int, ...]:
    """Places of the records of an iteration. In each round of count / each iterations the order is another,
    and none is drawn twice; records that don't fill an iteration are left out of a round.

    Args:
        count: of all records.
        seed: of the training.
        iteration: from 0.
        each: records of an iteration.

    Raises:
        ValueError: there are fewer records than that.
    """
    if count < each:
        raise ValueError(f"{each} records of {count}")
    whole = count // each
    turn, place = divmod(iteration, whole)
    order = np.random.Generator(np.random.PCG64([seed, turn, 0xD4A])).permutation(count)
    return tuple(int(number) for number in order[place * each : (place + 1) * each])


def cut_minibatches(count: int, most: int, seed: int, iteration: int, epoch: int) -> list[np.ndarray]:
    """The answers of each step of an epoch: all of them once, in steps of nearly the same size, since a small
    one would count as much as a large one.

    Args:
        count: of all answers.
        most: answers of a step.
        seed: of the training.
        iteration, epoch: from 0.
    """
    if not count:
        return []
    order = np.random.Generator(np.random.PCG64([seed, iteration, epoch, 0x0C7])).permutation(count)
    return np.array_split(order, -(-count // most))
