"""What a rollout is worth: pure functions of what the jobs wrote down.

A rollout has a reward, or it has a reason why it has none: a judge, an editor or a worker that failed gives
no number, and such a rollout is left out of its group. Answers that no parser reads are the policy's own
fault, and are learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from mira_batch.config.grpo import SCORE, RewardsConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.types import ErrorKind, Status


@dataclass(frozen=True, slots=True)
class Rollout:
    """A row of a run, without its images and tokens."""

    shard: int
    row: int
    """Its number in the shard's file."""
    record_id: str
    rollout: int
    group: str
    """The name of its question: see `advantages.name_group`."""
    status: str
    error_kind: str | None
    edits: int
    """That were carried out."""
    kinds: tuple[str, ...]
    """Of its answers, in order: edit, stop or malformed."""
    tokens: int
    """Of all its answers."""
    score: float | None
    """Of the judge in the loop; None without one."""
    proposed: str | None = None
    """Of a proposal at a state the edit that it came to, and "" for STOP. None: it is a whole rollout, or no
    answer of it could be read."""
    surprise: float = 0.0
    """Of all tokens of its answers together, in nats: how unlikely they were, as they were drawn."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a judge said of a rollout's result."""

    score: float | None
    """In [0, 1]; None: it could not be judged."""
    axes: Mapping[str, float]
    """Its axes, brought to [0, 1]."""
    error_kind: str | None = None
    """Why it could not be judged."""


@dataclass(frozen=True, slots=True)
class Reward:
    """The worth of a rollout."""

    value: float | None
    """None: it has none, and is left out."""
    score: float | None
    """Of that the judge's score; None where nobody judged its result."""
    left_out: str | None
    """Why it has no reward: the kind of fault."""


def scale_axes(axes: Sequence[Mapping[str, Any]] | None) -> dict[str, float]:
    """A judge's axes in [0, 1], by name: (value - low) / (high - low).

    Args:
        axes: as `storage.structs.JUDGEMENT` has them. One whose range is a single value has no place in it,
            and is left out.
    """
    return {
        axis["name"]: (axis["value"] - axis["low"]) / (axis["high"] - axis["low"])
        for axis in axes or ()
        if axis["high"] > axis["low"]
    }


def compose_reward(parts: Mapping[str, float], edits: int, malformed: int, config: RewardsConfig) -> float:
    """sum of weight x part - step_cost x edits - malformed_penalty x malformed answers.

    Args:
        parts: value of each part that has a weight, by name, in [0, 1].
        edits: that were carried out.
        malformed: answers that no parser reads.
        config: weights and costs.
    """
    gained = sum(weight * parts[name] for name, weight in config.weights.items())
    return gained - config.step_cost * edits - config.malformed_penalty * malformed


def reward_rollout(rollout: Rollout, scored: Scored | None, config: RewardsConfig) -> Reward:
    """The reward of a rollout.

    Args:
        rollout: of the run.
        scored: what `rewards.judge` said of its result; None: it has no row in the evaluation, or there is no
            such judge.
        config: what a reward is made of.

    Raises:
        ConfigError: a weight names an axis that the judge doesn't have.
    """
    malformed = rollout.kinds.count("malformed")
    if rollout.error_kind == ErrorKind.malformed_action:
        nothing = dict.fromkeys(config.weights, 0.0)
        return Reward(compose_reward(nothing, rollout.edits, malformed, config), None, None)
    if rollout.status == Status.failed:
        return Reward(None, None, rollout.error_kind or "unknown")
    if config.judge is None:
        if rollout.score is None:
            return Reward(None, None, ErrorKind.judge_failed)
        parts, score = {SCORE: rollout.score}, rollout.score
    else:
        if scored is None or scored.score is None:
            return Reward(None, None, (scored and scored.error_kind) or ErrorKind.judge_failed)
        parts, score = {SCORE: scored.score, **scored.axes}, scored.score
        if missing := sorted(config.weights.keys() - parts.keys()):
            raise ConfigError(
                f"rewards.weights: the judge has no axis {', '.join(missing)}; it has "
                f"{', '.join(sorted(parts))}"
            )
    return Reward(compose_reward(parts, rollout.edits, malformed, config), score, None)


def describe_rewards(rollouts: Sequence[Rollout], rewards: Sequence[Reward]) -> dict[str, Any]:
    """Counts and means of an iteration's rewards. Rollouts are those with a reward and those left out.

    Args:
        rollouts: all of the run.
        rewards: of each.
    """
    values = [reward.value for reward in rewards if reward.value is not None]
    scores = [reward.score for reward in rewards if reward.score is not None]
    kinds = [kind for rollout in rollouts for kind in rollout.kinds]
    tokens = sum(rollout.tokens for rollout in rollouts)
    left_out: dict[str, int] = {}
    for reward in rewards:
        if reward.left_out is not None:
            left_out[str(reward.left_out)] = left_out.get(str(reward.left_out), 0) + 1
    return {
        "rollouts": len(rollouts),
        "rewarded": len(values),
        "left_out": dict(sorted(left_out.items())),
        "malformed_rollouts": sum(r.error_kind == ErrorKind.malformed_action for r in rollouts),
        "unfinished": sum(rollout.status == Status.unfinished for rollout in rollouts),
        "reward_mean": fmean(values) if values else None,
        "reward_spread": pstdev(values) if values else None,
        "score_mean": fmean(scores) if scores else None,
        "edits_mean": fmean(rollout.edits for rollout in rollouts) if rollouts else None,
        "answers": len(kinds),
        "answers_malformed": kinds.count("malformed"),
        "answers_stop": kinds.count("stop"),
        "tokens": tokens,
        # The mean surprise of what was drawn: an estimate, without bias, of the entropy of a token there.
        "entropy": sum(rollout.surprise for rollout in rollouts) / tokens if tokens else None,
    }
