"""Requests that an endpoint refuses, and answers that are none, over a real socket: their record fails."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from PIL import Image

from mira_batch.core.actions import parse_action
from mira_batch.core.errors import RecordError
from mira_batch.core.types import Edit, ErrorKind, MalformedAction
from tests.contract.served_models import (
    GEMINI_IMAGES,
    IMAGE,
    JUDGE_SERVED,
    OPENAI_IMAGES,
    POLICY_SERVED,
    Served,
    error_of,
    every_chat,
    every_editor,
    every_model,
    first,
    once,
    patiently,
)
from tests.support.pictures import encoded
from tests.support.servers.models import Answer, ModelServer, chat_json, edit_json, failing, png

pytestmark = pytest.mark.usefixtures("clean_environment")


@every_model
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_fails_its_record_in_the_endpoints_words(
    served: Served, server: ModelServer, status: int
) -> None:
    words = "Your request was rejected by the safety system. " + "x" * 1000
    error = error_of(served, server, lambda asked: failing(status, words, "moderation_blocked"))
    assert isinstance(error, RecordError) and error.kind is served.role.failed
    assert "rejected by the safety system" in str(error) and len(str(error)) < 400
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "message",
    [{"refusal": "I can't help with that"}, {"finish_reason": "content_filter"}],
    ids=["refusal", "filter"],
)
@every_chat
def test_a_model_that_refuses_fails_the_record(
    served: Served, message: dict[str, str], server: ModelServer
) -> None:
    body = chat_json(None, **message)
    error = error_of(served, server, lambda asked: Answer(body))
    assert isinstance(error, RecordError) and error.kind is served.role.refused
    assert "refused to answer" in str(error)
    assert error.cost == pytest.approx(served.cost)


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "abort"])
def test_an_answer_that_is_not_whole_is_malformed(reason: str, server: ModelServer) -> None:
    """Also where all that was cut off stands behind the action."""
    body = chat_json("<edit>brighten</edit> It is too", finish_reason=reason)
    server.script = lambda asked: Answer(body)
    answer = once(POLICY_SERVED, server).value
    assert answer == "<edit>brighten</edit> It is too"
    assert isinstance(parse_action(answer), MalformedAction)


@pytest.mark.parametrize("reason", ["stop", "eos_token", "tool_calls", None])
def test_an_answer_that_ends_by_itself_is_whole(reason: str | None, server: ModelServer) -> None:
    server.script = lambda asked: Answer(chat_json("<edit>brighten</edit>", finish_reason=reason))
    assert parse_action(once(POLICY_SERVED, server).value) == Edit("brighten")


def test_a_judgement_that_was_cut_off_is_no_score(server: ModelServer) -> None:
    body = chat_json('{"score": 9} On the other hand', finish_reason="length")
    error = error_of(JUDGE_SERVED, server, lambda asked: Answer(body))
    assert isinstance(error, RecordError) and error.kind is JUDGE_SERVED.role.failed
    assert "it was cut off" in str(error)


def test_an_empty_answer_is_passed_on(server: ModelServer) -> None:
    server.script = lambda asked: Answer(chat_json(None))
    assert once(POLICY_SERVED, server).value == ""


@every_chat
def test_an_answer_without_end_fails_the_record(served: Served, server: ModelServer) -> None:
    error = error_of(served, server, lambda asked: Answer("ha " * 500_000))
    assert isinstance(error, RecordError) and "1,500,000 characters" in str(error)
    assert error.cost == pytest.approx(served.cost)


def test_a_fault_told_in_a_good_answer_is_a_fault(server: ModelServer) -> None:
    busy = Answer({"error": {"code": 429, "message": "upstream is busy"}})
    empty = Answer({**chat_json(""), "choices": []})
    server.script = first(busy, empty)
    (found,), retries = patiently(POLICY_SERVED, server)
    assert (found.value, retries) == ("<edit>invert the colors</edit>", 2)
    assert found.usage.cost == pytest.approx(2 * POLICY_SERVED.cost)  # the empty one had its tokens counted
    blocked = Answer({"error": {"message": "blocked"}})
    assert isinstance(error_of(POLICY_SERVED, server, lambda asked: blocked), RecordError)


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": "429", "message": "upstream is busy"}},
        {"error": "upstream is busy"},
    ],
)
def test_a_fault_that_a_good_answer_tells_in_another_form_is_waited_out(
    answer: dict[str, Any], server: ModelServer
) -> None:
    server.script = first(Answer(answer))
    (found,), retries = patiently(POLICY_SERVED, server)
    assert (found.value, retries) == ("<edit>invert the colors</edit>", 1)
    assert found.usage.cost == pytest.approx(POLICY_SERVED.cost)


@pytest.mark.parametrize("choice", [None, {}, {"message": None}, {"message": "<edit>brighten</edit>"}])
def test_an_answer_without_a_message_is_charged_and_asked_for_again(
    choice: dict[str, Any] | None, server: ModelServer
) -> None:
    server.script = first(Answer({**chat_json(""), "choices": [choice]}))
    (found,), retries = patiently(POLICY_SERVED, server)
    assert (found.value, retries) == ("<edit>invert the colors</edit>", 1)
    assert found.usage.cost == pytest.approx(2 * POLICY_SERVED.cost)


@pytest.mark.parametrize("count", [None, "1000", -1, float("nan"), float("inf"), [1000]])
def test_a_use_that_is_no_count_costs_what_the_call_does(count: Any, server: ModelServer) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": count}
    server.script = lambda asked: Answer({**chat_json("<stop>done</stop>"), "usage": usage})
    answer = once(POLICY_SERVED, server)
    assert (answer.value, answer.cost) == ("<stop>done</stop>", 0.5)


NOT_AN_IMAGE, A_PAGE = (base64.b64encode(data).decode() for data in (b"\x00\x01no", b"<html>log in</html>"))
HUGE = png(Image.new("1", (9_000, 10_000)))
NOISE = Image.effect_noise((200, 300), 60).convert("RGB")
A_GIF = base64.b64encode(encoded(NOISE, "GIF")).decode()


@every_editor
@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ("no base64!", "base64"),
        (NOT_AN_IMAGE, "is no PNG, JPEG or WEBP: it begins with b'\\x00\\x01no'"),
        (A_PAGE, "the endpoint's image is HTML ('<html>log in</html>')"),
        (HUGE, "exceeds limit of 89478485 pixels"),
        (A_GIF, "the endpoint's image is of the format GIF; PNG, JPEG and WEBP are taken"),
    ],
    ids=["base64", "no-image", "page", "huge", "gif"],
)
def test_an_image_that_is_none_fails_the_record(
    served: Served, server: ModelServer, encoded: str, words: str
) -> None:
    error = error_of(served, server, lambda asked: Answer(encoded))
    assert isinstance(error, RecordError) and error.kind is ErrorKind.editor_failed
    assert words in str(error)
    # Gemini's client refuses what is no base64 together with all that the answer says of its use.
    unknown = served is GEMINI_IMAGES and encoded == "no base64!"
    assert error.cost == (0 if unknown else pytest.approx(served.cost))


def cut_jpeg() -> bytes:
    data = encoded(NOISE, "JPEG")
    return data[: len(data) // 2] + b"\xff\xd9"


def zeroed_png() -> bytes:
    data = encoded(NOISE, "PNG")
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


@every_editor
@pytest.mark.parametrize(
    ("data", "words"),
    [(zeroed_png(), "the checksum of its chunk IDAT"), (cut_jpeg(), "its data end before the picture does")],
    ids=["png", "jpeg"],
)
def test_an_image_of_which_a_part_is_missing_fails_the_record(
    served: Served, server: ModelServer, data: bytes, words: str
) -> None:
    """Pillow fills it up with black or gray, and says nothing."""
    answer = base64.b64encode(data).decode()
    server.script = lambda asked: Answer(answer)
    (error,), _ = patiently(served, server)
    assert isinstance(error, RecordError) and error.kind is ErrorKind.editor_failed
    assert words in str(error)
    assert error.cost == pytest.approx(served.cost)


def test_an_image_behind_a_url_is_not_fetched(server: ModelServer) -> None:
    body = {"created": 1, "data": [{"url": f"{server.gemini_url}/image.png"}]}
    error = error_of(OPENAI_IMAGES, server, lambda asked: Answer(body))
    assert isinstance(error, RecordError) and "b64_json" in str(error)
    assert error.cost == 0.75  # it was made, whether it is read or not


def test_an_answer_without_images_is_charged_by_its_tokens(server: ModelServer) -> None:
    server.script = first(Answer({**edit_json(IMAGE.pixels), "data": []}))
    (found,), retries = patiently(OPENAI_IMAGES, server)
    assert (found.usage.cost, retries) == (pytest.approx(2 * OPENAI_IMAGES.cost - 0.25), 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "PROHIBITED_CONTENT"),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, "IMAGE_SAFETY"),
        (
            {"candidates": [{"content": {"parts": [{"text": "I can't."}]}, "finishReason": "STOP"}]},
            "I can't.",
        ),
        ({"candidates": []}, "without a candidate"),
    ],
    ids=["blocked", "unsafe", "words", "nothing"],
)
@pytest.mark.parametrize(
    ("usage", "cost"), [({}, 0.5), ({"promptTokenCount": 300, "thoughtsTokenCount": 10}, 0.5 + 0.3 + 0.1)]
)
def test_gemini_that_makes_no_image_says_why_and_is_charged_without_one(
    body: dict[str, Any], words: str, usage: dict[str, int], cost: float, server: ModelServer
) -> None:
    error = error_of(GEMINI_IMAGES, server, lambda asked: Answer({**body, "usageMetadata": usage}))
    assert isinstance(error, RecordError) and error.kind is ErrorKind.editor_failed
    assert words in str(error)
    assert error.cost == pytest.approx(cost)
