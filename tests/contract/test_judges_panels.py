"""Comparing two results, and several judges together."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.config.models.judges import PairwiseConfig
from mira_batch.core.pairs import PairRequest, Winner
from mira_batch.core.ports import Axis, Judgement
from mira_batch.core.types import ErrorKind
from mira_batch.models.loader import load_comparer
from mira_batch.models.simulated import _draw_uniform
from tests.contract.judge_calls import (
    FIRST,
    REQUEST,
    SECOND,
    THIRD,
    drawn,
    fault_of,
    judging,
    openai,
    panel,
    submit,
)
from tests.support.servers.models import Answer, Asked, ModelServer

pytestmark = pytest.mark.usefixtures("clean_environment")


# Pairs


def prefers(where: Winner) -> Any:
    """A judge that likes a place, whatever is there."""
    letter = {Winner.first: "A", Winner.second: "B", Winner.tie: "tie"}[where]
    return lambda asked: Answer(json.dumps({"reason": letter, "better": letter}))


def prefers_image(wanted: Any) -> Any:
    def script(asked: Asked) -> Answer:
        better = "A" if asked.images[1].tobytes() == wanted.pixels.tobytes() else "B"
        return Answer(json.dumps({"better": better}))

    return script


@pytest.mark.parametrize(
    ("script", "score", "agree"),
    [
        (prefers_image(SECOND), 1.0, 1.0),
        (prefers_image(FIRST), 0.0, 1.0),
        (prefers(Winner.first), 0.5, 0.0),
        (prefers(Winner.second), 0.5, 0.0),
        (prefers(Winner.tie), 0.5, 1.0),
    ],
    ids=["candidate", "original", "first-place", "second-place", "tie"],
)
def test_a_result_is_compared_with_the_original_in_both_orders(
    server: ModelServer, script: Any, score: float, agree: float
) -> None:
    server.script = script
    (timed,) = submit({"type": "pairwise", "backend": openai(server)}, REQUEST)
    assert timed.value.score == score and timed.value.validity == {"orders_agree": agree}
    assert timed.value.axes == {"preference": Axis(score, 0, 1)}
    assert len(timed.value.raw) == 2 and timed.usage.cost == pytest.approx(0.5)


def test_two_results_are_compared_in_the_order_that_is_asked_for(server: ModelServer) -> None:
    server.script = prefers_image(THIRD)
    pair = PairRequest("r1", "make it shine", FIRST, SECOND, THIRD)

    async def main() -> tuple[list[Any], str]:
        config = PairwiseConfig.model_validate({"type": "pairwise", "backend": openai(server)})
        client, identity = load_comparer(config, 30.0)
        try:
            return [(await client.submit(each)).value.winner for each in (pair, pair.swap())], identity
        finally:
            await client.close()

    winners, identity = asyncio.run(main())
    assert winners == [Winner.second, Winner.first]
    assert identity.startswith("pairwise-form/1 resize=none by openai tiny ")
    assert len(server.asked[0].images) == 3


# Panels


FAILS = [{"records": "r1", "does": "raise"}]


@pytest.mark.parametrize(
    ("more", "score"),
    [
        ({"combine": "mean"}, 0.5),
        ({"combine": "min"}, 0.2),
        ({"combine": "weighted", "reliability": (3.0, 1.0)}, 0.35),
    ],
)
def test_a_panel_combines_scores_by_hand(more: dict[str, Any], score: float) -> None:
    (timed,) = submit(panel({"low": drawn(0.2), "high": drawn(0.8)}, **more), REQUEST)
    assert timed.value.score == pytest.approx(score)
    assert timed.value.axes["low"] == Axis(0.2, 0, 1) and "high.drawn" in timed.value.axes
    assert timed.value.validity == {"judges_answered": 2, "judges_asked": 2}
    assert timed.value.protocol.startswith(f"panel/1 combine={more['combine']} quorum=2/2 members=")


def test_a_member_that_fails_fails_the_panel_unless_the_others_are_enough(server: ModelServer) -> None:
    server.script = judging
    members = {
        "bad": drawn(0.1, faults=FAILS),
        "good": drawn(0.8),
        "vie": {"type": "viescore", "backend": openai(server)},
    }
    error = fault_of(panel(members))
    assert error.kind is ErrorKind.judge_failed and error.cost == pytest.approx(0.5)
    assert str(error).startswith("2 of 3 judges scored, and 3 must: bad: ")
    (timed,) = submit(panel(members, quorum=2), REQUEST)
    others = [timed.value.axes[name].value for name in ("good", "vie")]
    assert timed.value.score == pytest.approx(sum(others) / 2) and "bad" not in timed.value.axes
    assert timed.value.validity["judges_answered"] == 2 and timed.value.validity["judges_asked"] == 3
    assert "bad failed: " in timed.value.reason
    server.script = lambda asked: Answer("I'm sorry, I can't.")
    assert fault_of(panel(members, quorum=2)).kind is ErrorKind.judge_failed, "of two kinds"
    refused = panel({"good": drawn(0.8), "vie": members["vie"]})
    assert fault_of(refused).kind is ErrorKind.judge_refused


def doubting(score: float, entropy: float, **more: Any) -> dict[str, Any]:
    """A judge whose score is known, and whose entropy on `REQUEST` is `entropy` times `SHARE`."""
    return drawn(score, entropy=entropy, **more)


SHARE = _draw_uniform("doubt", REQUEST.candidate.digest)


@pytest.mark.parametrize(
    ("escalate", "members", "asked"),
    [
        ({"entropy_above": 0.9 * SHARE}, {"a": doubting(0.2, 1.0), "b": drawn(0.8)}, "ab"),
        ({"entropy_above": SHARE}, {"a": doubting(0.2, 1.001), "b": drawn(0.8)}, "ab"),
        ({"entropy_above": SHARE}, {"a": doubting(0.2, 1.0), "b": drawn(0.8, faults=FAILS)}, "a"),
        ({"score_between": [0.2, 0.5]}, {"a": drawn(0.2), "b": drawn(0.8)}, "ab"),
        ({"score_between": [0.3, 0.5]}, {"a": drawn(0.2), "b": drawn(0.8, faults=FAILS)}, "a"),
        (
            {"entropy_above": SHARE, "score_between": [0.1, 0.3]},
            {"a": doubting(0.2, 0.5), "b": drawn(0.8)},
            "ab",
        ),
        (
            {"entropy_above": 0.9 * SHARE},
            {"a": doubting(0.2, 1.0), "b": doubting(0.8, 0.5 + 0.5 * SHARE), "c": drawn(0.9, faults=FAILS)},
            "ab",
        ),
        (
            {"entropy_above": 0.9 * SHARE},
            {"a": doubting(0.2, 1.0), "b": doubting(0.4, 1.0), "c": drawn(0.9)},
            "abc",
        ),
    ],
)
def test_the_next_judge_is_asked_only_where_the_last_one_is_unsure(
    escalate: dict[str, Any], members: dict[str, dict[str, Any]], asked: str
) -> None:
    (timed,) = submit(panel(members, escalate=escalate), REQUEST)
    scores = [members[name]["low"] for name in asked]
    assert timed.value.score == pytest.approx(sum(scores) / len(scores))
    assert timed.value.validity["judges_asked"] == timed.value.validity["judges_answered"] == len(asked)
    assert {name for name in members if name in timed.value.axes} == set(asked)
    (last,) = submit(panel(members, escalate=escalate, combine="last"), REQUEST)
    assert last.value.score == scores[-1]
    assert "combine=last escalate=" in last.value.protocol and "quorum" not in last.value.protocol
    assert last.value.protocol != timed.value.protocol


def test_whoever_is_asked_must_score_and_is_paid_for(server: ModelServer) -> None:
    server.script = judging
    members = {"vie": {"type": "viescore", "backend": openai(server)}, "bad": drawn(0.1, faults=FAILS)}
    sure = panel(members, escalate={"score_between": [0, 0.01]})
    (timed,) = submit(sure, REQUEST)
    assert timed.usage.cost == pytest.approx(0.5) and timed.usage.charges == {"judge": pytest.approx(0.5)}
    error = fault_of(panel(members, escalate={"score_between": [0, 1]}))
    assert error.kind is ErrorKind.judge_failed and error.cost == pytest.approx(0.5)
    assert str(error).startswith("1 of 2 judges scored, and 2 must: bad: ")
    first = {"bad": members["bad"], "vie": members["vie"]}
    before = len(server.asked)
    error = fault_of(panel(first, escalate={"score_between": [0, 1]}))
    assert str(error).startswith("0 of 1 judges scored, and 1 must: bad: ") and len(server.asked) == before


class Silent:
    """A judge of one's own that doesn't say how unsure it is."""

    identity, max_batch = "silent", 1

    def bucket(self, request: Any) -> None:
        return None

    def score(self, requests: Any) -> list[Any]:
        return [Judgement(0.5) for _ in requests]


def test_a_judge_that_says_nothing_of_its_doubt_is_not_taken_for_sure() -> None:
    silent = {"type": "custom", "factory": f"{Silent.__module__}:Silent"}
    members = {"a": silent, "b": drawn(0.8)}
    error = fault_of(panel(members, escalate={"entropy_above": 0.5}))
    assert "needs judges that say how unsure they are" in str(error) and "a doesn't" in str(error)
    (timed,) = submit(panel(members, escalate={"entropy_above": 0.5, "score_between": [0, 1]}), REQUEST)
    assert timed.value.validity["judges_asked"] == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (panel({"a": drawn(0.1), "b": drawn(0.1)}, escalate={}), "set entropy_above or score_between"),
        (
            panel({"a": drawn(0.1), "b": drawn(0.1)}, escalate={"score_between": [0.6, 0.5]}),
            "the lower first",
        ),
        (panel({"a": drawn(0.1), "b": drawn(0.1)}, escalate={"score_between": [0.6, 1.5]}), "in .0, 1."),
        (panel({"a": drawn(0.1), "b": drawn(0.1)}, combine="last"), "combine: last needs escalate"),
        (
            panel({"a": doubting(0.1, 1.0), "b": drawn(0.1)}, escalate={"entropy_above": 0.5}, quorum=1),
            "quorum: with escalate whoever is asked must give a score",
        ),
        (
            panel({"a": drawn(0.1), "b": drawn(0.1)}, escalate={"entropy_above": 0.5}),
            "a says nothing of how unsure it is, so nobody after it would ever be asked",
        ),
        (
            panel(
                {"a": doubting(0.1, 1.0), "b": drawn(0.1), "c": drawn(0.1)}, escalate={"entropy_above": 0.5}
            ),
            "b says nothing of how unsure it is",
        ),
        (
            panel({"a": doubting(0.1, 0.4), "b": drawn(0.1)}, escalate={"entropy_above": 0.5}),
            "a gives none above 0.4",
        ),
        (panel({"a": drawn(0.1)}), "at least 2"),
        (panel({"a": drawn(0.1), "b": drawn(0.1)}, quorum=3), "quorum is 3, and there are 2"),
        (panel({"a": drawn(0.1), "b": drawn(0.1)}, (2.0,)), "counts with combine: weighted only"),
        (panel({"a b": drawn(0.1), "b": drawn(0.1)}), "name"),
        ({**panel({"a": drawn(0.1)}), "members": [{"name": "a", "model": drawn(0.1)}] * 2}, "is there twice"),
        (panel({"a": panel({"b": drawn(0.1), "c": drawn(0.2)}), "d": drawn(0.1)}), "panel"),
    ],
)
def test_a_panel_that_makes_no_sense_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TypeAdapter(JudgeConfig).validate_python(settings)
