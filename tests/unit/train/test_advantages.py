"""Advantages against numbers worked by hand; whatever teaches nothing is counted."""

from __future__ import annotations

import math

import pytest

from mira_batch.train.advantages import (
    EPSILON,
    KNOWN_END,
    StepAdvantage,
    Value,
    find_ruin,
    measure_advantages,
    measure_steps,
    measure_value,
    name_group,
)


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


# Steps against what else could have come of their states


def test_the_value_of_a_state_by_hand() -> None:
    # Mean of 1, 0, 0.5 is 0.5, sample variance 0.25, so the standard error is 0.5 / sqrt(3).
    assert measure_value([1.0, None, 0.0, 0.5]) == Value(0.5, pytest.approx(0.5 / math.sqrt(3)), 3)
    assert measure_value([0.25, None]) == Value(0.25, None, 1), "one score says nothing of how sure it is"
    assert measure_value([None]) == Value(None, None, 0)


def test_the_interval_of_a_step_by_hand() -> None:
    before, after = measure_value([0.8, 0.9, 1.0]), measure_value([0.2, 0.3, 0.4])
    # Both have s = 0.1, so e^2 = 0.01 / 3 each, e = sqrt(0.02 / 3) = 0.0816497 with 4 degrees of freedom.
    (one,) = measure_steps([before, after])
    width = 2.776445 * 0.0816497  # t of 0.975
    assert (one.value, one.error) == (pytest.approx(-0.6), pytest.approx(0.0816497, abs=1e-6))
    assert (one.low, one.high) == (
        pytest.approx(-0.6 - width, abs=1e-5),
        pytest.approx(-0.6 + width, abs=1e-5),
    )
    # Two steps share the 5 %: t of 1 - 0.05 / 4.
    first, second = measure_steps([before, after, after])
    assert first.high == pytest.approx(-0.6 + 3.495406 * 0.0816497, abs=1e-5)
    assert (second.value, second.low) == (0.0, pytest.approx(-3.495406 * 0.0816497, abs=1e-5))


def test_an_end_that_is_there_is_no_draw() -> None:
    (step,) = measure_steps([measure_value([0.8, 0.9, 1.0]), Value(0.2, KNOWN_END, 1)])
    error = 0.1 / math.sqrt(3)  # of the state alone, with 2 degrees of freedom: t of 0.975 is 4.302653
    assert step.error == pytest.approx(error)
    assert step.high == pytest.approx(-0.7 + 4.302653 * error, abs=1e-5)


def test_states_whose_ends_are_all_alike_differ_exactly() -> None:
    (step,) = measure_steps([measure_value([1.0] * 4), measure_value([0.25] * 4)])
    assert step == StepAdvantage(-0.75, 0.0, -0.75, -0.75)


def test_what_is_not_known_has_no_advantage_and_takes_no_share_of_the_confidence() -> None:
    known, lost, alone = measure_value([0.8, 0.9, 1.0]), measure_value([None]), measure_value([0.5])
    first, second, third, fourth = measure_steps([known, known, lost, known, alone])
    assert second == third == StepAdvantage(None, None, None, None)
    assert fourth == StepAdvantage(pytest.approx(-0.4), None, None, None)  # type: ignore[arg-type]
    assert first.high == pytest.approx(3.495406 * 0.0816497, abs=1e-5), "two differences are known"


def test_the_largest_fall_is_named_only_if_it_is_beyond_its_interval() -> None:
    def find(*states: list[float], min_drop: float = 0.05) -> int | None:
        return find_ruin(measure_steps([measure_value(scores) for scores in states]), min_drop)

    assert find([1.0] * 4, [1.0] * 4, [0.25] * 4, [0.0] * 4) == 1
    assert find([0.5] * 4, [1.0] * 4) is None, "it rose"
    assert find([1.0] * 4, [1.0] * 4) is None
    assert find([1.0] * 4, [1.0, 1.0, 1.0, 0.5]) is None, "one bad end of four says little"
    assert find([1.0] * 4, [0.96] * 4) is None and find([1.0] * 4, [0.96] * 4, min_drop=0.0) == 0
    # The largest fall is unsure, and a smaller one that is sure is not named in its place.
    assert find([1.0] * 4, [0.9] * 4, [0.9, 0.9, 0.0, 0.0]) is None
    assert find_ruin([StepAdvantage(-0.5, None, None, None)]) is None
    assert find_ruin([]) is None and find_ruin([StepAdvantage(None, None, None, None)]) is None
