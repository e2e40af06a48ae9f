"""The states of trajectories: what makes two of them equal, and which are drawn."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from mira_batch.train.grpo.rollouts import _make_lessons, _make_rollout
from mira_batch.train.grpo.states import AskedState, choose_states, find_states, name_question

ROW: dict[str, Any] = {
    "record_id": "a",
    "work_id": "w",
    "instruction": "do x and y",
    "source_digest": "o",
    "answers": [
        {"step": step, "attempt": attempt, "logprobs": logprobs}
        for step, attempt, logprobs in ((0, 0, [-0.5, -0.25]), (0, 1, [-9.0]), (1, 0, [0.0]), (2, 0, None))
    ],
    "steps": [
        {"instruction": "x", "accepted": False, "after": "ox"},
        {"instruction": "y", "accepted": True, "after": "oy"},
    ],
}


def test_a_state_is_where_the_policy_was_asked() -> None:
    found = list(find_states(ROW, True))
    assert [(state.name, state.work_id, state.steps) for state in found] == [
        ("a#state-0", "w", 0),
        ("a#state-1", "w", 1),
        ("a#state-2", "w", 2),
    ]
    assert len({state.question for state in found}) == 3
    # Of the first answer at each; of one that came without its log-probabilities nothing is sure.
    assert [state.doubt for state in found] == [pytest.approx(1 - math.exp(-0.75)), 0.0, 1.0]
    assert list(find_states(ROW | {"answers": None}, True)) == []


def test_questions_are_of_images_and_words() -> None:
    whole = name_question(ROW, 2)
    assert name_question(ROW | {"record_id": "b"}, 2) == whole
    assert name_question(ROW | {"instruction": "do z"}, 2) != whole
    assert name_question(ROW | {"source_digest": "p"}, 2) != whole
    other = [ROW["steps"][0] | {"instruction": "z"}, ROW["steps"][1]]
    assert name_question(ROW | {"steps": other}, 2) != whole
    assert name_question(ROW, 1) != name_question(ROW, 0), "the step that was taken back is told"
    assert name_question(ROW, 1, history=False) == name_question(ROW, 0, history=False)


def test_equal_states_are_taken_once_and_draws_follow_the_seed() -> None:
    found = [AskedState(name, "w", 0, name[0]) for name in ("a1", "b1", "a2", "c1", "d1", "b2")]
    chosen, equal = choose_states(found, 9, "chance", 0, 0)
    assert ([state.record_id for state in chosen], equal) == (["a1", "b1", "c1", "d1"], 2)
    draws = {
        tuple(state.record_id for state in choose_states(found, 2, "chance", seed, iteration)[0])
        for seed in range(8)
        for iteration in range(4)
    }
    assert draws == {tuple(f"{a}1" for a in pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")}
    assert choose_states(found, 2, "chance", 3, 4) == choose_states(found, 2, "chance", 3, 4)


def test_by_doubt_the_states_are_asked_that_another_answer_is_likely_at() -> None:
    doubts = [0.0, 0.9, 0.001, 0.5, 0.0, 0.1]
    found = [AskedState(f"r{place}", "w", 0, f"q{place}", doubt) for place, doubt in enumerate(doubts)]
    drawn = [choose_states(found, 2, "doubt", seed, 0)[0] for seed in range(400)]
    times = Counter(state.record_id for states in drawn for state in states)
    assert all(len({state.record_id for state in states}) == 2 for states in drawn)
    assert times["r1"] > times["r3"] > times["r5"] > max(times["r0"], times["r2"], times["r4"])
    assert times["r0"] and times["r2"] and times["r4"], "who is sure may be surely wrong"
    whole, _ = choose_states(found, 9, "doubt", 0, 0)
    assert whole == found


def test_a_proposal_counts_and_teaches_its_own_answers_alone() -> None:
    answers = [
        {
            "step": step,
            "attempt": attempt,
            "kind": kind,
            "problem": problem,
            "tokens": [7, 8],
            "logprobs": [-1.0, -2.0],
        }
        for step, attempt, kind, problem in (
            (0, 0, "edit", None),
            (1, 0, "malformed", "no tag"),
            (1, 1, "edit", None),
        )
    ]
    steps = [step | {"score": 0.5} for step in ROW["steps"]]
    row = ROW | {
        "rollout": 3,
        "branch": {"run": "r", "work_id": "w", "steps": 1},
        "answers": answers,
        "steps": steps,
        "status": "unfinished",
        "error_kind": None,
        "num_steps": 2,
    }
    rollout = _make_rollout(row, 0, 5)
    assert (rollout.edits, rollout.kinds, rollout.tokens) == (1, ("malformed", "edit"), 4)
    assert rollout.group == name_question(ROW, 1)
    first, second = _make_lessons(row, 0.7)
    assert [lesson.attempt for lesson in (first, second)] == [0, 1]
    assert (first.problem, second.problem) == ("", "no tag")
    assert {lesson.history for lesson in (first, second)} == {(("x", False),)}
    assert {(lesson.original, lesson.current, lesson.advantage) for lesson in (first, second)} == {
        ("o", "o", 0.7)
    }
    lost = _make_rollout(row | {"status": "failed", "steps": [], "answers": [], "num_steps": 0}, 0, 5)
    assert (lost.edits, lost.kinds) == (0, ()) and lost.group != name_question(ROW, 0)
