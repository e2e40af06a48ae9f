"""What is watched beside the reward, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mira_batch.core.errors import UserError
from mira_batch.train.grpo.rewards import Scored
from mira_batch.train.iterations import refuse_few
from mira_batch.train.nft.samples import Sample, describe_rewards, list_scores, reward_sample
from mira_batch.train.nft.sentinels import measure_diversity, measure_images


def sample(group: str, level: float | None = None, fault: str | None = None, **fidelity: Any) -> Sample:
    sketch = None if level is None else np.full((32, 32, 3), level, dtype=np.float32)
    return Sample(0, 0, group, 0, group, fault, fidelity, sketch, level and 100 * level)


def test_diversity_is_the_mean_difference_of_two_samples_of_a_group() -> None:
    # a: |0.2 - 0.4|, |0.2 - 0.7|, |0.4 - 0.7|; b: |0.5 - 0.6|; c and d have no two samples.
    samples = [sample("a", 0.2), sample("a", 0.4), sample("b", 0.5), sample("a", 0.7), sample("b", 0.6)]
    samples += [sample("c", 0.1), sample("d", 0.1), sample("d")]
    assert measure_diversity(samples) == pytest.approx(((0.2 + 0.5 + 0.3) / 3 + 0.1) / 2, abs=1e-6)
    assert measure_diversity(samples[-3:]) is None


def test_facts_that_can_not_be_had_are_no_part_of_a_mean() -> None:
    samples = [
        sample("a", 0.25, delta_e=1.0, changed_share=0.5, sharpness_ratio=None),
        sample("a", delta_e=2.0, changed_share=None, sharpness_ratio=None),
        sample("a", fault="editor_failed"),
    ]
    assert measure_images(samples) == {
        "collateral": 1.5,
        "changed_share": 0.5,
        "sharpness_ratio": None,
        "sharpness": 25.0,
    }


def test_a_failure_is_no_reward() -> None:
    rewards = [
        reward_sample(sample("a"), Scored(0.25, {})),
        reward_sample(sample("a"), Scored(None, {}, "judge_failed")),
        reward_sample(sample("a"), None),
        reward_sample(sample("a", fault="editor_failed"), Scored(0.9, {})),
    ]
    figures = describe_rewards(rewards)
    assert figures == {
        "samples": 4,
        "rewarded": 1,
        "left_out": {"editor_failed": 1, "judge_failed": 2},
        "score_mean": 0.25,
        "score_spread": 0.0,
    }
    refuse_few(4, 1, figures["left_out"], 0.75, "samples have no reward", "/out/iterations/000000")
    told = (
        r"3 of 4 samples have no reward \(editor_failed 1, judge_failed 2\), and rewards.max_left_out is 0.5"
        r".* delete that folder"
    )
    with pytest.raises(UserError, match=told):
        refuse_few(4, 1, figures["left_out"], 0.5, "samples have no reward", "/out/iterations/000000")


def test_a_sentinel_is_not_asked_of_images_that_no_edit_was_made_of() -> None:
    samples = [sample("a"), sample("b", fault="time_limit"), sample("c"), sample("d")]
    said = {
        ("a", 0): Scored(0.25, {}),
        ("b", 0): Scored(1.0, {}),  # the untouched image
        ("c", 0): Scored(None, {}, "judge_failed"),
    }
    assert list_scores(samples, said) == [0.25]
