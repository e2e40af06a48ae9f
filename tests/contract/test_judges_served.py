"""Judges over endpoints, on a real server: calls, prices, faults, refusals, probabilities."""

from __future__ import annotations

import math
import re
import threading
from typing import Any

import pytest

from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import Judgement
from tests.contract.judge_calls import (
    REQUEST,
    fault_of,
    gemini,
    judging,
    openai,
    submit,
    vie,
)
from tests.contract.served_models import SECRET
from tests.support.servers.bodies import gemini_text, token_json
from tests.support.servers.models import Answer, Asked, ModelServer, chat_json

pytestmark = pytest.mark.usefixtures("clean_environment")


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
        (chat_json([{"type": "text", "text": vie(8, 7)}]), "judge_failed", "no text, but a list"),
    ],
    ids=["says-so", "refusal", "filter", "prose", "empty", "cut-off", "range", "key", "list"],
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
        (token_json([(" 5", -0.1)]), "probability 0 .* ' 5' 0.905"),
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


def test_probabilities_of_more_than_all_are_asked_for_again_and_never_a_score(server: ModelServer) -> None:
    bodies = [token_json([("5", -0.1), ("4", -0.2), ("5", -0.1)]), token_json([("5", -0.1), ("4", -2.5)])]
    server.script = lambda asked: Answer(bodies[asked.number])
    (timed,) = submit({"type": "score_logit", "backend": openai(server)}, REQUEST)
    assert len(server.asked) == 2 and timed.value.validity["digit_mass"] < 1


def test_an_endpoint_without_logprobs_ends_the_run_with_a_way_out(server: ModelServer) -> None:
    server.script = lambda asked: Answer("5")
    (error,) = submit({"type": "score_logit", "backend": openai(server)}, REQUEST)
    assert isinstance(error, ConfigError) and "has no logprobs" in str(error) and "viescore" in str(error)
