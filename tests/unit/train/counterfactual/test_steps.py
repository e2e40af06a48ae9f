"""From ends to rows, by hand: what has no score is left out and counted, and never a number."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.storage.counterfactual import name_drop, name_end, name_state
from mira_batch.train.counterfactual.plan import make_plan
from mira_batch.train.counterfactual.states import list_laid, list_states
from mira_batch.train.counterfactual.steps import (
    ABSENT,
    CUT_SHORT,
    End,
    check_laid,
    complete_ends,
    describe_ends,
    value_trajectory,
)
from mira_batch.train.counterfactual.trajectories import Chosen, Edit, Trajectory

NAME = "sku-1#rollout-2"


def make_trajectory(*accepted: bool, stopped: bool = True) -> Trajectory:
    """Edits a, b, c …; what the judge in the loop accepted changes the image: o, oa, oab …"""
    edits, image = [], "o"
    for letter, taken in zip("abcdef", accepted, strict=False):
        edits.append(Edit(letter, taken, image, image + letter))
        image = image + letter if taken else image
    seconds = {"policy": 4.0, "editor": 8.0}
    return Trajectory("sku-1", 2, "w", "do it", stopped, "/a.png", "o", "{}", tuple(edits), seconds, 0.5)


def configure(**more: Any) -> CounterfactualConfig:
    given = {"run": "/r", "judge": {"type": "rules"}, "output": {"uri": "/o"}, "continuations": 3}
    return CounterfactualConfig.model_validate(given | more)


def scored(*scores: float | None) -> list[End]:
    return [End(score, None if score is not None else "judge_failed", ("a", "x")) for score in scores]


def test_what_is_tried_of_a_trajectory() -> None:
    each = make_trajectory(True, False, True)
    states = [(name, branch["steps"]) for _, name, branch in list_states([each])]
    assert states == [(f"{NAME} after {k}", k) for k in range(4)]
    laid = {name: branch for _, name, branch in list_laid([each], True)}
    assert laid == {
        f"{NAME} as it ended": {"work_id": "w", "steps": 3, "stop": True},
        f"{NAME} without 0": {"work_id": "w", "steps": 0, "edits": ["c"], "stop": True},
        f"{NAME} without 2": {"work_id": "w", "steps": 2, "edits": [], "stop": True},
    }, "what was rolled back is neither left out nor laid down"
    assert list(list_laid([each], False)) == [(each, f"{NAME} as it ended", laid[f"{NAME} as it ended"])]


def test_rows_by_hand() -> None:
    each = make_trajectory(True, False)
    states = {
        name_state(NAME, 0): scored(1.0, 1.0, 1.0),
        name_state(NAME, 1): scored(0.25, None, 0.25),
        name_state(NAME, 2): scored(0.25, 0.25, 0.25),
    }
    laid = {name_end(NAME): scored(0.25), name_drop(NAME, 0): scored(0.75)}
    first, second, stop = value_trajectory(each, states, laid, configure())
    assert (first["value_before"], first["value_after"], first["advantage"]) == (1.0, 0.25, -0.75)
    assert (first["ruined"], second["ruined"], stop["ruined"]) == (True, False, False)
    assert (first["end_score"], first["drop_score"], first["drop_effect"]) == (0.25, 0.75, -0.5)
    assert (second["judged_before"], second["left_out"]) == (2, [{"kind": "judge_failed", "count": 1}])
    assert [each["score"] for each in second["tried"]] == [0.25, None, 0.25]
    assert [each["edit"] for each in second["tried"]] == ["x"] * 3, "the first after the state"
    assert (second["accepted"], second["judged_drops"], second["drop_effect"]) == (False, 0, None)
    assert (stop["action"], stop["edit"], stop["advantage"]) == ("stop", None, 0.0)
    assert (stop["image_before"], stop["image_after"]) == ("oa", "oa"), "the second edit was rolled back"
    unstopped = make_trajectory(True, False, stopped=False)
    assert len(value_trajectory(unstopped, states, laid, configure())) == 2


def test_an_end_without_a_score_is_none_and_is_counted() -> None:
    names = [name_state(NAME, 0), name_state(NAME, 1)]
    ends = complete_ends({names[0]: scored(1.0, None, 0.5)}, names, 3)
    assert ends[names[1]] == [End(None, ABSENT)] * 3
    assert describe_ends(end for found in ends.values() for end in found) == {
        "ends": 6,
        "judged": 2,
        "left_out": {"judge_failed": 1, ABSENT: 3},
    }
    short = {"short": [End(0.5, None, ("a",))], "whole": [End(0.5, None, ("a", "b"))]}
    checked = check_laid(short, {"short": 2, "whole": 2})
    assert (checked["short"][0].score, checked["short"][0].left_out) == (None, CUT_SHORT)
    assert checked["whole"] == short["whole"]


def test_what_it_takes_by_hand() -> None:
    """Three steps: 3 x (3 + 2 + 1) edits from states, 2 x (2 + 1) without a step, each 8 / 3 s of editor."""
    chosen = Chosen([make_trajectory(True, True, True)], {"chosen": 1, "failed": 2})
    found = make_plan(configure(drops=2), chosen, max_steps=5)
    assert (found.states, found.continuations, found.drops) == (4, 12, 6)
    assert (found.edits, found.most_edits) == (18 + 6, 3 * (5 + 4 + 3 + 2) + 6)
    assert found.judgings == 12 + 6 + 2
    assert found.seconds == pytest.approx({"policy": 24 * 4 / 3, "editor": 24 * 8 / 3})
    assert found.cost == pytest.approx(24 * 0.5 / 3)
    assert "of the run's others failed 2" in found.describe()[0]
