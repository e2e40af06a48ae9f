"""Advantages against numbers worked by hand; whatever teaches nothing is counted."""

from __future__ import annotations

import math

import pytest

from mira_batch.train.advantages import EPSILON, measure_advantages, name_group


def test_within_a_group_by_hand() -> None:
    # Mean of 1, 0, 0.5 is 0.5; sample variance ((0.5)^2 + (0.5)^2 + 0) / 2 = 0.25, so the spread is 0.5.
    found = measure_advantages([1.0, 0.0, 0.5], ["a"] * 3)
    assert found.values == pytest.approx([0.5 / (0.5 + EPSILON), -0.5 / (0.5 + EPSILON), 0.0])
    assert (found.used, found.groups) == (3, 1)


def test_spread_of_the_batch_and_none() -> None:
    rewards, groups = [1.0, 0.0, 4.0, 2.0], ["a", "a", "b", "b"]
    # All four: mean 1.75; squares 0.5625 + 3.0625 + 5.0625 + 0.0625 = 8.75; / 3, root: 1.707825
    spread = math.sqrt(8.75 / 3) + EPSILON
    distances = [0.5, -0.5, 1.0, -1.0]
    assert measure_advantages(rewards, groups, "batch").values == pytest.approx(
        [d / spread for d in distances]
    )
    assert measure_advantages(rewards, groups, "none").values == pytest.approx(distances)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_could_not_be_judged_is_left_out_of_the_mean(missing: float | None) -> None:
    found = measure_advantages([1.0, missing, 0.0], ["a"] * 3, "none")
    assert found.values == (0.5, None, -0.5)  # with a 0 in its place the mean would be 1/3
    assert (found.used, found.unjudged) == (2, 1)


def test_groups_that_teach_nothing_are_dropped_and_counted() -> None:
    rewards = [0.7, 0.7, 0.7, 1.0, None, 0.0, 1.0, None, None]
    groups = ["same"] * 3 + ["alone"] * 2 + ["good"] * 2 + ["lost"] * 2
    found = measure_advantages(rewards, groups)
    assert [value is None for value in found.values] == [True] * 5 + [False] * 2 + [True] * 2
    assert (found.used, found.alike, found.alone, found.unjudged) == (2, 3, 1, 3)
    assert found.used + found.alike + found.alone + found.unjudged == len(rewards)
    assert (found.groups, found.alike_groups, found.alone_groups) == (4, 1, 2)


def test_equal_rewards_stay_equal_whatever_their_sum_rounds_to() -> None:
    assert measure_advantages([0.1 + 0.2, 0.3, 0.3], ["a"] * 3).alike == 3


def test_two_images_under_one_prompt_are_two_groups() -> None:
    one, other = (name_group(digest, "make it red") for digest in ("d1", "d2"))
    assert one != other != name_group("d1", "make it blue")
    # Held together, the means would be 0.5 and every answer would have an advantage.
    assert measure_advantages([1.0, 1.0, 0.0, 0.0], [one, one, other, other]).used == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="2 rewards and 1 groups"):
        measure_advantages([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="reward of answer 1 is infinite"):
        measure_advantages([1.0, math.inf], ["a", "a"])
