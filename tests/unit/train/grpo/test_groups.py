"""Groups, the records of iterations, and the answers of steps: each once, and the same ones each time."""

from __future__ import annotations

from collections import Counter

import pytest

from mira_batch.train.advantages import EPSILON
from mira_batch.train.grpo.groups import (
    credit_rollouts,
    cut_minibatches,
    describe_groups,
    draw_records,
    share_luck,
)
from mira_batch.train.grpo.rewards import Reward
from tests.unit.train.grpo.test_rewards import rollout


def test_advantages_are_within_a_question() -> None:
    rollouts = [rollout(group=group) for group in ("a", "b", "a", "b", "c", "c", "d")]
    values = [1.0, 0.2, 0.0, 0.2, 0.5, None, 1.0]
    found = credit_rollouts(rollouts, [Reward(value, value, None) for value in values], "group")
    # a: mean 0.5, spread of 1 and 0 is sqrt(0.5); b is alike, c and d have one reward each.
    half = 0.5 / (0.5**0.5 + EPSILON)
    assert found.values == (pytest.approx(half), None, pytest.approx(-half), None, None, None, None)
    told = describe_groups(found)
    assert told == {"groups": 4, "groups_alike": 1, "groups_alone": 2, "used": 2, "alike": 2, "alone": 2}
    assert told["used"] + told["alike"] + told["alone"] + found.unjudged == len(rollouts)


def test_records_have_their_turn() -> None:
    turns = [draw_records(10, 7, iteration, 3) for iteration in range(9)]
    for round_ in range(3):  # of three iterations, nine records each
        drawn = Counter(place for turn in turns[3 * round_ : 3 * round_ + 3] for place in turn)
        assert set(drawn.values()) == {1} and len(drawn) == 9 and set(drawn) <= set(range(10))
    assert len({turns[0], turns[3], turns[6]}) == 3
    assert turns[4] == draw_records(10, 7, 4, 3) != draw_records(10, 8, 4, 3)
    with pytest.raises(ValueError, match="11 records of 10"):
        draw_records(10, 7, 0, 11)


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(10, 4, [4, 3, 3]), (64, 64, [64]), (3, 8, [3]), (0, 8, [])]
)
def test_steps_are_of_nearly_the_same_size(count: int, most: int, sizes: list[int]) -> None:
    cut = cut_minibatches(count, most, 0, 1, 0)
    assert [len(part) for part in cut] == sizes
    assert sorted(int(number) for part in cut for number in part) == list(range(count))


def test_another_epoch_has_another_order() -> None:
    first, again, second = (cut_minibatches(32, 32, 0, 1, epoch)[0].tolist() for epoch in (0, 0, 1))
    assert first == again != second


def test_an_editors_luck_is_shared_by_those_who_asked_for_the_same() -> None:
    """Three proposals of one edit, of which the editor lost one; a STOP; and one after a malformed answer."""
    edit, again = ("edit",), ("malformed", "edit")
    rollouts = [
        *[rollout(proposed="make it red", kinds=edit) for _ in range(3)],
        rollout(proposed="", kinds=("stop",)),
        rollout(proposed="make it red", kinds=again),
        rollout(proposed="make it red", kinds=edit),
        rollout(proposed="make it red", kinds=edit, group="other"),
    ]
    given = [1.0, 0.0, 1.0, 0.0, 0.9, None, 0.3]
    found = share_luck(rollouts, [Reward(value, value, None) for value in given])
    assert found == [pytest.approx(2 / 3)] * 3 + [0.0, 0.9, None, 0.3]
    assert sum(value for value in found if value is not None) == pytest.approx(3.2)


def test_who_is_sure_of_an_edit_learns_nothing_of_the_editors_luck() -> None:
    sure = [rollout(proposed="make it red", kinds=("edit",)) for _ in range(4)]
    rewards = [Reward(value, value, None) for value in (1.0, 0.0, 0.0, 1.0)]
    assert describe_groups(credit_rollouts(sure, rewards, "group"))["groups_alike"] == 1
    whole = [rollout(kinds=("edit", "stop")) for _ in range(4)]  # trajectories: each is its own
    assert describe_groups(credit_rollouts(whole, rewards, "group"))["used"] == 4
