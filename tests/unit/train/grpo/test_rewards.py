"""Rewards against numbers worked by hand; what failed has none."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch.config.grpo import RewardsConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.types import ErrorKind
from mira_batch.train.grpo.rewards import (
    Reward,
    Rollout,
    Scored,
    describe_rewards,
    reward_rollout,
    scale_axes,
)

JUDGE = {"type": "custom", "factory": "mira_batch.train.world:make_judge"}


def config(**settings: Any) -> RewardsConfig:
    return RewardsConfig.model_validate({"judge": JUDGE, **settings})


def rollout(**changes: Any) -> Rollout:
    given: dict[str, Any] = {
        "shard": 0, "row": 0, "record_id": "r", "rollout": 0, "group": "g", "status": "ok",
        "error_kind": None, "edits": 2, "kinds": ("edit", "malformed", "edit", "stop"), "tokens": 40,
        "score": None,
    }  # fmt: skip
    return Rollout(**given | changes)


def test_parts_and_costs_by_hand() -> None:
    axes = scale_axes(
        [
            {"name": "semantic", "value": 7.5, "low": 0, "high": 10},
            {"name": "perceptual", "value": 2, "low": 1, "high": 5},
            {"name": "empty", "value": 0, "low": 0, "high": 0},
        ]
    )
    assert axes == {"semantic": 0.75, "perceptual": 0.25}
    told = config(
        weights={"semantic": 0.5, "perceptual": 0.25, "score": 1}, step_cost=0.05, malformed_penalty=0.1
    )
    # 0.5 x 0.75 + 0.25 x 0.25 + 0.4 - 2 x 0.05 - 1 x 0.1
    found = reward_rollout(rollout(), Scored(0.4, axes), told)
    assert found.value == pytest.approx(0.6375)
    assert (found.score, found.left_out) == (0.4, None)


def test_malformed_answers_are_the_policys_own_fault() -> None:
    failed = rollout(
        status="failed", error_kind="malformed_action", edits=1, kinds=("edit", *["malformed"] * 3)
    )
    found = reward_rollout(failed, None, config(step_cost=0.05, malformed_penalty=0.1))
    assert found.value == pytest.approx(-0.05 - 0.3)
    assert found.score is None  # nobody judged it


@pytest.mark.parametrize(
    ("row", "scored", "why"),
    [
        (
            {"status": "failed", "error_kind": "editor_failed"},
            Scored(None, {}, "editor_failed"),
            "editor_failed",
        ),
        ({}, Scored(None, {}, "judge_refused"), "judge_refused"),
        ({}, None, "judge_failed"),
    ],
)
def test_a_failure_is_no_number(row: dict[str, Any], scored: Scored | None, why: str) -> None:
    found = reward_rollout(rollout(**row), scored, config())
    assert (found.value, found.score, found.left_out) == (None, None, why)


def test_the_judge_in_the_loop() -> None:
    in_loop = RewardsConfig(step_cost=0.1)
    assert reward_rollout(rollout(score=0.5), None, in_loop).value == pytest.approx(0.3)
    assert reward_rollout(rollout(score=None), None, in_loop).left_out == "judge_failed"


def test_an_axis_that_the_judge_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="no axis perceptual; it has score, semantic"):
        reward_rollout(rollout(), Scored(1.0, {"semantic": 1.0}), config(weights={"perceptual": 1}))


def test_counts_add_up() -> None:
    rollouts = [
        rollout(),
        rollout(status="unfinished"),
        rollout(status="failed", error_kind="malformed_action", kinds=("malformed",)),
        rollout(status="failed", error_kind="editor_failed", kinds=()),
    ]
    scored = [Scored(1.0, {}), Scored(0.5, {}), None, None]
    told = config()
    rewards = [reward_rollout(*pair, told) for pair in zip(rollouts, scored, strict=True)]
    found = describe_rewards(rollouts, rewards)
    assert found["rollouts"] == found["rewarded"] + sum(found["left_out"].values()) == 4
    assert found["left_out"] == {"editor_failed": 1}
    assert (found["malformed_rollouts"], found["unfinished"]) == (1, 1)
    assert found["reward_mean"] == pytest.approx(0.5)  # 1, 0.5 and 0
    assert found["reward_spread"] == pytest.approx((1 / 6) ** 0.5)
    assert found["score_mean"] == pytest.approx(0.75)  # of those that were judged
    assert (found["answers"], found["answers_malformed"], found["answers_stop"]) == (9, 3, 2)


def test_entropy_is_of_all_that_was_drawn() -> None:
    """A group that teaches nothing, since the policy was sure, counts as one that does."""
    rollouts = [rollout(tokens=30, surprise=0.3), rollout(tokens=10, surprise=7.7)]
    none = Reward(None, None, ErrorKind.judge_failed)
    assert describe_rewards(rollouts, [none, none])["entropy"] == pytest.approx(0.2)
    assert describe_rewards([rollout(tokens=0)], [none])["entropy"] is None
