"""Judges over endpoints, on a real server: answers, faults and refusals, panels, whole runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.models import JudgeConfig
from mira_batch.config.models.judges import PairwiseConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.pairs import PairRequest, Winner
from mira_batch.core.ports import Axis, Judgement, JudgeRequest
from mira_batch.core.types import ErrorKind
from mira_batch.models.checks import check_model
from mira_batch.models.judges.imgedit import AXES
from mira_batch.models.loader import load_comparer, load_models
from tests.contract.served_models import SECRET
from tests.support.models.tiny import noise
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.servers.models import (
    Answer,
    Asked,
    ModelServer,
    chat_json,
    gemini_text,
    token_json,
)

pytestmark = pytest.mark.usefixtures("clean_environment")
PRICES = {"call": 0.25}
FIRST, SECOND, THIRD = (noise(24, 16, seed) for seed in (1, 2, 3))
REQUEST = JudgeRequest("r1", "make it shine", FIRST, SECOND, "brighten it", {"edit_type": "add"})


def openai(server: ModelServer, **more: Any) -> dict[str, Any]:
    return {"type": "openai", "model": "tiny", "base_url": server.url, "prices": PRICES, **more}


def gemini(server: ModelServer, **more: Any) -> dict[str, Any]:
    return openai(server, **more) | {"type": "gemini", "base_url": server.gemini_url}


def submit(judge: dict[str, Any], *requests: Any) -> list[Any]:
    """Verdicts with what they took, or faults."""
    config = TypeAdapter(JudgeConfig).validate_python(judge)

    async def main() -> list[Any]:
        clients = await load_models({"judge": (config, 30.0)})
        try:
            calls = (clients["judge"].submit(request) for request in requests)
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await clients.close()

    return asyncio.run(asyncio.wait_for(main(), 60))


def fault_of(judge: dict[str, Any], request: Any = REQUEST) -> RecordError:
    (error,) = submit(judge, request)
    assert isinstance(error, RecordError), error
    return error


def vie(*values: float) -> str:
    return json.dumps({"score": values, "reasoning": "so"})


def judging(asked: Asked) -> Answer:
    """Answers every protocol well; what is judged is in the second image of a question, or its only one."""
    return Answer(answer_to(asked) if asked.kind == "chat" else gemini_text(str(answer_to(asked))))


def answer_to(asked: Asked) -> Any:
    liked = hashlib.sha256(asked.images[-1].tobytes()).digest()[0] % 2
    if asked.body.get("logprobs"):
        chances = (0.1, 0.1, 0.0, 0.0, 0.1, 0.7)[:: 1 if liked else -1]
        return token_json([(str(k), math.log(p)) for k, p in enumerate(chances) if p])
    if '"better"' in asked.text:
        return json.dumps({"reason": "so", "better": "B" if liked else "A"})
    for axes in AXES.values():
        if all(f"{axis}: a number from 1 to 5" in asked.text for axis in axes):
            return "\n".join(f"{axis}: {4 if liked else 2}" for axis in axes)
    assert '"score": [' in asked.text
    return vie(*((8, 7) if liked else (3, 2)))


# Calls


@pytest.mark.parametrize("reach", [openai, gemini])
def test_two_questions_are_asked_side_by_side_and_paid_for(server: ModelServer, reach: Any) -> None:
    texts = {2: vie(9, 7), 1: vie(6, 8)}
    both = threading.Event()

    def script(asked: Asked) -> Answer:
        text = texts[len(asked.images)]
        if asked.number == 1:
            both.set()
        return Answer(text if asked.kind == "chat" else gemini_text(text), wait=both)

    server.script = script
    (timed,) = submit({"type": "viescore", "backend": reach(server)}, REQUEST)
    assert timed.value.score == pytest.approx(math.sqrt(42) / 10)
    assert timed.value.raw == (texts[2], texts[1])
    assert timed.usage.cost == pytest.approx(0.5) and timed.usage["judge"] > 0
    assert [asked.body["temperature"] for asked in server.asked] == [0, 0]
    assert all(not asked.system for asked in server.asked)
    assert server.most_in_flight == 2


def test_the_protocols_own_sampling_is_sent_and_the_configs_goes_before(server: ModelServer) -> None:
    server.script = judging
    submit({"type": "editscore", "passes": 2, "backend": openai(server)}, REQUEST)
    sent = server.asked[0].body
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["max_tokens"]) == (0.7, 0.9, 20, 512)
    assert sorted(asked.body["seed"] for asked in server.asked) == [42, 42, 43, 43]
    submit({"type": "viescore", "backend": openai(server, sampling={"temperature": 0.3})}, REQUEST)
    assert server.asked[-1].body["temperature"] == 0.3 and "top_k" not in server.asked[-1].body
    submit({"type": "viescore", "backend": gemini(server, sampling={"top_k": 5})}, REQUEST)
    assert server.asked[-1].body["topK"] == 5 and server.asked[-1].body["maxOutputTokens"] == 512


def test_a_question_that_breaks_is_asked_again_alone(server: ModelServer) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(how="reset") if asked.number == 0 else judging(asked)

    server.script = script
    (timed,) = submit({"type": "viescore", "backend": openai(server)}, REQUEST)
    assert isinstance(timed.value, Judgement) and len(server.asked) == 3
    assert timed.usage.cost == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ("I'm sorry, I can't judge this.", "judge_refused", "the judge refused to answer: it holds no JSON"),
        (chat_json(None, refusal="I can't help"), "judge_refused", "refused to answer: I can't help"),
        (chat_json("", finish_reason="content_filter"), "judge_refused", "its content filter"),
        ("8 out of 10", "judge_failed", "the judge's answer can't be used: it holds no JSON object: '8 out"),
        ("", "judge_failed", "it is empty: 'nothing'"),
        (chat_json(vie(8, 7), finish_reason="length"), "judge_failed", "it was cut off"),
        (vie(8, 70), "judge_failed", "overediting is 70, out of [0, 10]"),
        (f"{SECRET} {'x' * 5000}", "judge_failed", "***"),
    ],
    ids=["says-so", "refusal", "filter", "prose", "empty", "cut-off", "range", "key"],
)
def test_faults_have_their_kind_and_their_cost_and_are_quoted(
    server: ModelServer, answer: Any, kind: str, words: str
) -> None:
    server.script = lambda asked: Answer(answer if len(asked.images) == 2 else vie(8, 7))
    error = fault_of({"type": "viescore", "backend": openai(server, api_key_env="SECRET_KEY")})
    assert error.kind == kind and words in str(error)
    assert SECRET not in str(error) and len(str(error)) < 500
    assert error.cost == pytest.approx(0.5), "both questions were paid for"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "judge_refused", "blocked the request: SAFETY"),
        (gemini_text("", finishReason="PROHIBITED_CONTENT"), "judge_refused", "PROHIBITED_CONTENT"),
        (gemini_text('{"score": [', finishReason="MAX_TOKENS"), "judge_failed", "cut off"),
        ({"candidates": []}, "judge_failed", "without a candidate"),
    ],
    ids=["blocked", "prohibited", "cut-off", "nothing"],
)
def test_faults_of_gemini(server: ModelServer, body: dict[str, Any], kind: str, words: str) -> None:
    server.script = lambda asked: Answer(body)
    error = fault_of({"type": "viescore", "backend": gemini(server)})
    assert error.kind == kind and words in str(error)


# Probabilities


def test_probabilities_of_digits_from_openai_and_gemini(server: ModelServer) -> None:
    top = [("5", math.log(0.6)), ("3", math.log(0.2)), ("The", math.log(0.1))]
    tokens = [{"token": token, "logProbability": logprob} for token, logprob in top]
    gemini_top = gemini_text(
        "5", finishReason="MAX_TOKENS", logprobsResult={"topCandidates": [{"candidates": tokens}]}
    )
    server.script = lambda asked: Answer(token_json(top) if asked.kind == "chat" else gemini_top)
    for reach in (openai, gemini):
        (timed,) = submit({"type": "score_logit", "backend": reach(server)}, REQUEST)
        assert timed.value.score == pytest.approx((5 * 0.6 + 3 * 0.2) / 0.8 / 5)
        validity = timed.value.validity
        assert (validity["digit_mass"], validity["digits_seen"]) == (pytest.approx(0.8), 2)
        assert validity["unseen_mass"] == pytest.approx(0.1), "all that the three tokens leave"
    chat, other = (asked.body for asked in server.asked)
    assert (chat["max_tokens"], chat["logprobs"], chat["top_logprobs"], chat["temperature"]) == (
        1,
        True,
        20,
        1,
    )
    assert (other["maxOutputTokens"], other["responseLogprobs"], other["logprobs"]) == (1, True, 20)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (token_json([("The", -0.1), ("5", -3.0)]), "probability 0.0498 .* 'The' 0.905, '5' 0.050"),
        (token_json([(" 5", -0.1)]), "probability 0 "),
        (chat_json("I'm sorry", refusal="I won't look at it"), "I won't look at it"),
    ],
    ids=["another-word", "another-token", "refusal"],
)
def test_a_first_token_that_is_no_digit_is_a_failure(
    server: ModelServer, body: dict[str, Any], words: str
) -> None:
    server.script = lambda asked: Answer(body)
    error = fault_of({"type": "score_logit", "backend": openai(server)})
    assert error.kind in ("judge_failed", "judge_refused") and error.cost == 0.25
    assert re.search(words, str(error)), str(error)


def test_an_endpoint_without_logprobs_ends_the_run_with_a_way_out(server: ModelServer) -> None:
    server.script = lambda asked: Answer("5")
    (error,) = submit({"type": "score_logit", "backend": openai(server)}, REQUEST)
    assert isinstance(error, ConfigError) and "has no logprobs" in str(error) and "viescore" in str(error)


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


def drawn(low: float, **more: Any) -> dict[str, Any]:
    """A judge whose score is known."""
    return {"type": "simulated", "low": low, "high": low, **more}


FAILS = [{"records": "r1", "does": "raise"}]


def panel(
    members: dict[str, dict[str, Any]], reliability: Sequence[float] = (), **more: Any
) -> dict[str, Any]:
    listed = [{"name": name, "model": model} for name, model in members.items()]
    for member, weight in zip(listed, reliability, strict=False):
        member["reliability"] = weight
    return {"type": "panel", "members": listed, **more}


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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
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


# Whole runs


def kinds(server: ModelServer) -> dict[str, dict[str, Any]]:
    """A judge of each kind."""
    backend = openai(server)
    vie = {"type": "viescore", "backend": gemini(server)}
    return {
        "viescore": vie,
        "editscore": {"type": "editscore", "passes": 2, "backend": backend},
        "score_logit": {"type": "score_logit", "backend": backend},
        "imgedit": {"type": "imgedit", "task_key": "kind", "backend": backend},
        "pairwise": {"type": "pairwise", "backend": backend},
        "panel": panel({"vie": vie, "drawn": drawn(0.5)}, combine="min"),
    }


CALLS = {"viescore": 2, "editscore": 4, "score_logit": 1, "imgedit": 1, "pairwise": 2, "panel": 2}


@pytest.mark.parametrize("kind", list(CALLS))
def test_a_run_is_gated_by_a_judge_of_each_kind(tmp_path: Path, server: ModelServer, kind: str) -> None:
    def script(asked: Asked) -> Answer:
        if "sepia" in asked.text:
            said = chat_json(None, refusal="no") if asked.body.get("logprobs") else "I'm sorry, I can't."
            return Answer(said if asked.kind == "chat" else gemini_text("我无法评价。"))
        return judging(asked)

    server.script = script
    manifest = make_catalogue(tmp_path / "catalogue", 6)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    kinds_of_edit = ["add", "remove", "paint", "style", "add", "add"]
    with manifest.open("w") as file:
        for row, edit in zip(rows, kinds_of_edit, strict=True):
            file.write(json.dumps({**row, "kind": edit}) + "\n")
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="inline",
            policy={"type": "simulated", "steps": {"exact": {"*": 2}}},
            editor={"type": "simulated"},
            judge={"model": kinds(server)[kind], "attempts": 2},
        )
    )
    check_model(config.judge.model)
    summary = run(config)
    names = ["record_id", "instruction", "status", "error_kind", "error_message", "cost", "models"]
    outputs = read_outputs(summary.run, names).to_pylist()
    failed = {row["record_id"]: row for row in outputs if row["status"] == "failed"}
    refused = [row for row in failed.values() if row["error_kind"] == "judge_refused"]
    assert refused and all("sepia" in row["instruction"] for row in refused)
    assert all(row["cost"] == pytest.approx(0.25 * CALLS[kind]) for row in refused)
    others = [row for row in failed.values() if row["error_kind"] != "judge_refused"]
    if kind == "imgedit":
        (row,) = others
        assert row["error_kind"] == "judge_failed" and "metadata.kind" in row["error_message"]
        assert "'paint'" in row["error_message"]
    else:
        assert not others
    steps = read_trajectories(summary.run).select(["accepted", "score"]).to_pylist()
    assert steps and all(0 <= step["score"] <= 1 for step in steps)
    assert all(step["accepted"] <= (step["score"] > 0) for step in steps)
    assert summary.cost == pytest.approx(0.25 * len(server.asked))
    assert all(str(config.judge.model.type).replace("_", "-") in row["models"]["judge"] for row in outputs)
