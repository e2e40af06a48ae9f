"""Which records are drawn, and which samples teach anything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.config.editor_nft import GroupFilterConfig
from mira_batch.train.nft.groups import draw_unsolved, filter_groups

GROUPS = [*"aaa", *"bbb", *"ccc", *"dd", *"ee"]
REWARDS = [0.2, 0.8, None, 0.95, 0.99, 0.97, 0.50, 0.51, 0.52, None, 0.7, None, None]


def test_groups_by_hand() -> None:
    found = filter_groups(REWARDS, GROUPS, GroupFilterConfig())
    assert [place for place, used in enumerate(found.used) if used] == [0, 1]
    assert found.solved == {"b"}
    assert found.samples == {"used": 2, "alone": 1, "solved": 3, "narrow": 3}
    assert found.describe() == {
        "groups": 5, "groups_used": 1, "groups_alone": 2, "groups_solved": 1, "groups_narrow": 1,
        "used": 2, "alone": 1, "solved": 3, "narrow": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("limits", "gone"), [({}, False), ({"least_spread": None}, True)])
def test_good_groups_that_still_differ_are_left_out_this_time_alone(
    limits: dict[str, None], gone: bool
) -> None:
    """The paper drops a prompt for good where the mean is high and the spread small."""
    found = filter_groups([1.0, 1.0, 1.0, 0.7], [*"aaaa"], GroupFilterConfig(**limits))
    assert not any(found.used) and found.samples["solved"] == 4
    assert bool(found.solved) is gone


@pytest.mark.parametrize(
    ("limits", "fates"),
    [
        ({"least_spread": None}, {"used": 5, "alone": 1, "solved": 3, "narrow": 0}),
        ({"solved_above": None}, {"used": 2, "alone": 1, "solved": 0, "narrow": 6}),
        ({"least_spread": None, "solved_above": None}, {"used": 8, "alone": 1, "solved": 0, "narrow": 0}),
    ],
)
def test_each_limit_can_be_switched_off(limits: dict[str, None], fates: dict[str, int]) -> None:
    found = filter_groups(REWARDS, GROUPS, GroupFilterConfig(**limits))
    assert found.samples == fates and sum(found.used) == fates["used"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.floats(0, 1), st.integers(0, 4)), max_size=30),
    st.none() | st.floats(0, 0.49),
    st.none() | st.floats(0, 0.99),
)
def test_counts_add_up(
    samples: list[tuple[float | None, int]], spread: float | None, solved: float | None
) -> None:
    rewards = [reward for reward, _ in samples]
    limits = GroupFilterConfig(least_spread=spread, solved_above=solved)
    found = filter_groups(rewards, [str(group) for _, group in samples], limits)
    assert sum(found.samples.values()) == sum(reward is not None for reward in rewards)
    assert sum(found.groups.values()) == len({group for _, group in samples})
    assert sum(found.used) == found.samples["used"]
    assert all(reward is not None for reward, used in zip(rewards, found.used, strict=True) if used)


def test_all_records_have_their_turn_before_any_has_another() -> None:
    begin, drawn = 0, list[int]()
    for _ in range(6):
        places, begin = draw_unsolved(12, 7, begin, 4, ())
        assert len(set(places)) == 4
        drawn += places
    assert begin == 24 and Counter(drawn) == dict.fromkeys(range(12), 2)
    assert drawn[:12] != drawn[12:]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 40), st.integers(1, 12), st.sets(st.integers(0, 11)))
def test_solved_records_are_passed_over(count: int, begin: int, most: int, solved: set[int]) -> None:
    solved = {place for place in solved if place < count}
    places, end = draw_unsolved(count, 3, begin, most, solved)
    assert len(set(places)) == len(places) == min(most, count - len(solved))
    assert not solved & set(places) and end >= begin
    assert (end == begin) == (not places)
