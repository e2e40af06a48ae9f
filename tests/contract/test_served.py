"""What every served model must do, over a real socket. A new one joins by its config in `SERVED`."""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image, ImageOps
from pydantic import TypeAdapter

from mira_batch.config.models import EditorConfig, JudgeConfig, PolicyConfig
from mira_batch.core.errors import ConfigError, EndpointError, RecordError, UserError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import (
    EditRequest,
    JudgeRequest,
    PolicyRequest,
    ServedEditor,
    ServedJudge,
    ServedPolicy,
)
from mira_batch.core.types import ErrorKind, Frame, Step
from mira_batch.models.remote.gemini_images import GeminiImages
from mira_batch.models.remote.openai_images import OpenAIImages
from mira_batch.models.remote.openai_judge import OpenAIJudge
from mira_batch.models.remote.openai_policy import OpenAIPolicy
from mira_batch.models.remote.pictures import fit_to
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.roles import Role
from tests.support.models.roles import EDITOR, JUDGE, POLICY
from tests.support.servers.models import (
    Answer,
    Asked,
    ModelServer,
    Script,
    chat_json,
    edit_json,
    failing,
    gemini_error,
    gemini_json,
    model_server,
    obliging,
    png,
)

LONG = 60
SECRET = "sk-very-secret-0123456789"
PRICES = {"call": 0.5, "million_input_tokens": 1000.0, "million_output_tokens": 10_000.0, "image": 0.25}


@dataclass(frozen=True)
class Served:
    """What the served models have in common, for the tests that hold for all."""

    type: str
    role: Role
    model: Callable[[Any], Any]
    key: str
    cost: float
    """Of a call of the test server by `PRICES`."""

    @property
    def name(self) -> str:
        return f"{self.type}-{self.role.name}"


POLICY_SERVED = Served("openai", POLICY, OpenAIPolicy, "OPENAI_API_KEY", 0.5 + 1.0 + 0.5)
JUDGE_SERVED = Served("openai", JUDGE, OpenAIJudge, "OPENAI_API_KEY", 0.5 + 1.0 + 0.5)
OPENAI_IMAGES = Served("openai_images", EDITOR, OpenAIImages, "OPENAI_API_KEY", 0.5 + 0.5 + 2.0 + 0.25)
GEMINI_IMAGES = Served("gemini_images", EDITOR, GeminiImages, "GEMINI_API_KEY", 0.5 + 0.3 + 13.0 + 0.25)
SERVED = [POLICY_SERVED, JUDGE_SERVED, OPENAI_IMAGES, GEMINI_IMAGES]
CHATS = [POLICY_SERVED, JUDGE_SERVED]
EDITORS = [OPENAI_IMAGES, GEMINI_IMAGES]
every_model = pytest.mark.parametrize("served", SERVED, ids=lambda served: served.name)
every_chat = pytest.mark.parametrize("served", CHATS, ids=lambda served: served.name)
every_editor = pytest.mark.parametrize("served", EDITORS, ids=lambda served: served.name)
CONFIGS = {"policy": PolicyConfig, "editor": EditorConfig, "judge": JudgeConfig}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SECRET_KEY", SECRET)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def picture(mode: str, width: int, height: int, shift: int = 0) -> Frame:
    size = width * height * len(mode)
    data = bytes((i * 37 + shift) % 256 for i in range(size))
    return frame_of(Image.frombytes(mode, (width, height), data))


IMAGE = picture("RGB", 24, 16)
OTHER = picture("RGB", 24, 16, shift=90)
STEP = Step(0, "", "brighten the sky", "", 1, 0, IMAGE.digest, OTHER.digest)


def asks(original: Frame = IMAGE, current: Frame = IMAGE, **more: Any) -> PolicyRequest:
    return PolicyRequest("r1", "make it shine", original, current, more.pop("history", ()), 2**40 + 7, **more)


def edits(image: Frame = IMAGE) -> EditRequest:
    return EditRequest("r1", "invert the colors", image, image, 2**40 + 7, 0)


def judges(candidate: Frame = OTHER) -> JudgeRequest:
    return JudgeRequest("r1", "make it shine", IMAGE, candidate, "brighten the sky")


def config_of(served: Served, server: ModelServer, **settings: Any) -> Any:
    url = server.gemini_url if served is GEMINI_IMAGES else server.url
    adapter: TypeAdapter[Any] = TypeAdapter(CONFIGS[served.role.name])
    values = {"type": served.type, "model": "tiny", "base_url": url, "api_key_env": "SECRET_KEY"}
    return adapter.validate_python({**values, "prices": PRICES, **settings})


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, LONG))


def once(served: Served, server: ModelServer, request: Any = None, **settings: Any) -> Any:
    """One call of the model alone, without the endpoint's patience."""

    async def main() -> Any:
        model = served.model(config_of(served, server, **settings))
        try:
            return await getattr(model, served.role.method)(request or a_request(served))
        finally:
            await model.close()

    return run(main())


def a_request(served: Served) -> Any:
    return {"policy": asks, "editor": edits, "judge": judges}[served.role.name]()


@asynccontextmanager
async def opened(
    served: Served, server: ModelServer, limit_seconds: float | None = None, **settings: Any
) -> Any:
    config = config_of(served, server, **settings)
    model = served.model(config)
    endpoint: Endpoint[Any, Any] = Endpoint(
        served.role, getattr(model, served.role.method), config, limit_seconds, model.close, 0.001
    )
    try:
        yield endpoint
    finally:
        await endpoint.close()


def patiently(served: Served, server: ModelServer, times: int = 1, **settings: Any) -> tuple[list[Any], int]:
    """So many calls at once behind an endpoint: their outcomes, and the faults that were waited out."""

    async def main() -> tuple[list[Any], int]:
        async with opened(served, server, **settings) as endpoint:
            calls = [endpoint.submit(a_request(served)) for _ in range(times)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            return found, endpoint.usage.retries

    return run(main())


def error_of(served: Served, server: ModelServer, script: Script, **settings: Any) -> Exception:
    server.script = script
    (found,), _ = patiently(served, server, **settings)
    assert isinstance(found, Exception), found
    assert SECRET not in str(found) and SECRET not in repr(found.__cause__)
    assert found.__cause__ is None
    return found


def first(*answers: Answer) -> Script:
    """These answers first, and then the obliging ones."""
    return lambda asked: answers[asked.number] if asked.number < len(answers) else obliging(asked)


def same(left: Image.Image, right: Image.Image) -> bool:
    return (left.mode, left.size, left.tobytes()) == (right.mode, right.size, right.tobytes())


def test_they_are_what_the_ports_ask_for(server: ModelServer) -> None:
    async def main() -> None:
        policy: ServedPolicy = OpenAIPolicy(config_of(POLICY_SERVED, server))
        editors: list[ServedEditor] = [
            OpenAIImages(config_of(OPENAI_IMAGES, server, quality="low", input_fidelity="high")),
            GeminiImages(config_of(GEMINI_IMAGES, server)),
        ]
        judge: ServedJudge = OpenAIJudge(config_of(JUDGE_SERVED, server))
        strict = OpenAIJudge(config_of(JUDGE_SERVED, server, prompt={"guidance": "Look at the hands."}))
        assert judge.identity.startswith("openai tiny mira-judge-form/1 ")
        assert judge.identity.endswith(" temperature=0 top_p=1 max_tokens=512")
        assert strict.identity != judge.identity
        prompted = OpenAIPolicy(config_of(POLICY_SERVED, server, prompt={"guidance": "No hats."}))
        bare = OpenAIPolicy(config_of(POLICY_SERVED, server, sampling={"temperature": None, "top_p": None}))
        assert policy.identity.startswith("openai tiny mira-prompt/")
        assert policy.identity.endswith(" temperature=0 top_p=1 max_tokens=512")
        assert bare.identity.endswith(" temperature=default top_p=default max_tokens=512")
        assert prompted.identity != policy.identity
        assert [editor.identity for editor in editors] == [
            "openai-images tiny quality=low input_fidelity=high",
            "gemini-images tiny",
        ]
        for model in (policy, prompted, bare, judge, strict, *editors):
            await model.close()

    run(main())


# What is sent, and what comes back


@every_model
def test_the_answer_its_price_and_the_key(served: Served, server: ModelServer) -> None:
    answer = once(served, server)
    if served is POLICY_SERVED:
        assert answer.value == "<edit>invert the colors</edit>"
    elif served is JUDGE_SERVED:
        assert (answer.value.score, answer.value.reason) == (0.2, "it isn't inverted")
    else:
        assert same(answer.value, ImageOps.invert(IMAGE.pixels))
    assert answer.cost == pytest.approx(served.cost)
    (asked,) = server.asked
    assert (asked.model, asked.key) == ("tiny", SECRET)
    assert same(asked.images[0], IMAGE.pixels)


@every_model
def test_no_usage_costs_what_the_call_does(served: Served, server: ModelServer) -> None:
    whole = {"openai": chat_json, "openai_images": edit_json, "gemini_images": gemini_json}[served.type]

    def script(asked: Asked) -> Answer:
        body = whole('{"score": 1}' if served in CHATS else IMAGE.pixels)
        return Answer({name: value for name, value in body.items() if not name.startswith("usage")})

    server.script = script
    assert once(served, server).cost == (0.5 if served in CHATS else 0.75)


def test_a_policy_is_shown_both_images_the_history_and_the_problem(server: ModelServer) -> None:
    request = asks(current=OTHER, history=(STEP,), attempt=1, problem="it was empty")
    answer = once(POLICY_SERVED, server, request, prompt={"guidance": "Keep the brand's colours."})
    assert answer.value == "<stop>it is inverted</stop>"
    (asked,) = server.asked
    assert [same(image, frame.pixels) for image, frame in zip(asked.images, (IMAGE, OTHER), strict=True)]
    for part in ("make it shine", "brighten the sky", "it was empty"):
        assert part in asked.text
    assert "Keep the brand's colours." in asked.system and "<edit>" in asked.system


def test_a_policy_gets_its_sampling_and_a_seed_that_every_server_takes(server: ModelServer) -> None:
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 64}
    once(POLICY_SERVED, server, sampling=sampling)
    assert server.asked[0].body == {**sampling, "seed": 7}


def test_a_policy_sees_large_images_smaller(server: ModelServer) -> None:
    once(POLICY_SERVED, server, asks(picture("RGB", 200, 100), IMAGE), prompt={"max_pixels": 3_136})
    large, small = server.asked[0].images
    assert (large.mode, large.size) == ("RGB", (79, 39))
    assert same(small, IMAGE.pixels)


def test_a_policy_sees_white_where_an_image_is_transparent(server: ModelServer) -> None:
    """As the policies in the worker do: servers show it black, or the colour that lies hidden below."""
    glass = frame_of(Image.new("RGBA", (8, 8), (250, 0, 0, 0)))
    half = frame_of(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    once(POLICY_SERVED, server, asks(glass, half))
    shown = [(image.mode, image.getpixel((0, 0))) for image in server.asked[0].images]
    assert shown == [("RGB", (255, 255, 255)), ("RGB", (127, 127, 127))]


def test_sampling_that_is_null_is_not_sent(server: ModelServer) -> None:
    """Hosted reasoning models refuse temperature and top_p."""
    once(POLICY_SERVED, server, sampling={"temperature": None, "top_p": 0.9})
    once(POLICY_SERVED, server, sampling={"temperature": None, "top_p": None})
    assert [asked.body for asked in server.asked] == [
        {"top_p": 0.9, "max_tokens": 512, "seed": 7},
        {"max_tokens": 512, "seed": 7},
    ]


@every_editor
def test_an_editor_is_sent_alpha_and_gives_it_back(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: Answer(ImageOps.flip(asked.images[0]))
    frame = picture("RGBA", 5, 9)
    assert same(once(served, server, edits(frame)).value, ImageOps.flip(frame.pixels))
    assert same(server.asked[0].images[0], frame.pixels)
    assert server.asked[0].text == "invert the colors"


def test_editors_are_told_their_settings(server: ModelServer) -> None:
    once(OPENAI_IMAGES, server, quality="low", input_fidelity="high")
    once(OPENAI_IMAGES, server)
    once(GEMINI_IMAGES, server)
    told = [asked.body for asked in server.asked]
    assert told[:2] == [
        {"quality": "low", "input_fidelity": "high", "size": "auto"},
        {"quality": "auto", "size": "auto"},
    ]
    assert told[2]["seed"] == 7 and told[2]["responseModalities"] == ["TEXT", "IMAGE"]


@pytest.mark.parametrize(("mode", "expected"), [("L", "RGB"), ("P", "RGB"), ("LA", "RGBA"), ("1", "RGB")])
def test_other_modes_become_rgb_or_rgba(mode: str, expected: str, server: ModelServer) -> None:
    server.script = lambda asked: Answer(asked.images[0].convert(mode))
    assert once(OPENAI_IMAGES, server).value.mode == expected


def test_drafts_of_gemini_are_passed_over(server: ModelServer) -> None:
    body = gemini_json(IMAGE.pixels)
    draft = {"inlineData": {"mimeType": "image/png", "data": png(OTHER.pixels)}, "thought": True}
    body["candidates"][0]["content"]["parts"].append(draft)
    server.script = lambda asked: Answer(body)
    assert same(once(GEMINI_IMAGES, server).value, IMAGE.pixels)


@pytest.mark.parametrize(
    ("answered", "original", "expected"),
    [
        ((10, 8), (10, 8), (10, 8)),
        ((1536, 1024), (1200, 800), (1200, 800)),
        ((1024, 1024), (1000, 990), (1000, 990)),  # the same shape, but for rounding
        ((1536, 1024), (1200, 900), (1200, 800)),  # another: as wide, and less high
        ((1024, 1024), (300, 600), (300, 300)),
    ],
)
def test_a_result_is_brought_back_to_the_original_without_distortion(
    answered: tuple[int, int], original: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fit_to(Image.new("RGBA", answered), Image.new("RGB", original)).size == expected


# The environment


@every_model
def test_a_missing_key_is_named(served: Served, server: ModelServer) -> None:
    with pytest.raises(ConfigError, match=served.key):
        once(served, server, base_url=None, api_key_env=None)
    with pytest.raises(ConfigError, match="api_key_env: the environment variable NOT_SET is not set"):
        once(served, server, api_key_env="NOT_SET")


@every_model
def test_an_endpoint_of_ones_own_needs_no_key(served: Served, server: ModelServer) -> None:
    once(served, server, api_key_env=None)
    assert server.asked[0].key == "none"


@every_model
def test_the_environment_sends_nothing_elsewhere(
    served: Served, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    for name in ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer another-key")
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organization")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "my-project")
    once(served, server)
    assert server.asked[0].key == SECRET
    assert not {"my-organization", "my-project", "another-key"} & set(server.asked[0].headers.values())


@every_model
def test_a_missing_package_is_named(
    served: Served, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("openai", "google.genai"):  # None in sys.modules is how Python notes "not there"
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("google.genai", raising=False)
    extra = "gemini" if served is GEMINI_IMAGES else "openai"
    with pytest.raises(ConfigError, match=rf"pip install mira-batch\[{extra}\]"):
        once(served, server)


# Faults


@every_model
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(failing(429, "slow down", Retry_After="0"), id="429"),
        pytest.param(failing(503, "overloaded", Retry_After="0"), id="503"),
        pytest.param(failing(500, "oops"), id="500"),
        pytest.param(Answer(b"<html>bad gateway</html>", 502, content_type="text/html"), id="502-html"),
        pytest.param(failing(408, "too slow"), id="408"),
        pytest.param(Answer(how="reset"), id="reset"),
        pytest.param(Answer(IMAGE.pixels, how="reset_body"), id="reset-body"),
        pytest.param(Answer(IMAGE.pixels, how="cut_json"), id="cut-json"),
        pytest.param(Answer(b"<html>log in</html>", content_type="text/html"), id="html"),
    ],
)
def test_passing_faults_are_waited_out(served: Served, server: ModelServer, fault: Answer) -> None:
    if served in CHATS and isinstance(fault.value, Image.Image):
        fault = Answer("<stop>done</stop>" * 100, how=fault.how)
    server.script = first(fault, fault)
    (found,), retries = patiently(served, server)
    assert found.usage.cost == pytest.approx(served.cost)
    assert (retries, len(server.asked)) == (2, 3)


@every_model
def test_a_hung_call_is_made_again_and_its_connection_let_go(served: Served, server: ModelServer) -> None:
    server.script = first(Answer(how="hang"))
    (found,), retries = patiently(served, server, timeout_seconds=0.5)
    assert found.usage.cost == pytest.approx(served.cost)
    assert retries >= 1  # a busy machine may be late with the second answer, too
    server.until(lambda: server.dropped == retries)


@every_model
def test_a_call_over_the_limit_fails_its_record(served: Served, server: ModelServer) -> None:
    error = error_of(served, server, lambda asked: Answer(how="hang"), limit_seconds=0.2)
    assert isinstance(error, RecordError) and error.kind is ErrorKind.step_timeout


@every_model
def test_a_long_wait_asked_for_is_not_begun(served: Served, server: ModelServer) -> None:
    if served is GEMINI_IMAGES:
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}
        fault = gemini_error(429, "later", "RESOURCE_EXHAUSTED", info)
    else:
        fault = failing(429, "later", Retry_After="3600")
    error = error_of(served, server, lambda asked: fault)
    assert isinstance(error, EndpointError) and "later" in str(error)
    assert len(server.asked) == 1


@every_model
def test_an_endpoint_that_is_not_there_ends_the_run(served: Served, server: ModelServer) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        error = error_of(served, server, obliging, base_url=url, retry_seconds=0.2)
    assert isinstance(error, EndpointError)
    assert url in str(error) and "the same command goes on" in str(error)


@every_model
@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
def test_a_refusal_of_every_call_ends_the_run(served: Served, server: ModelServer, status: int) -> None:
    words = f"Incorrect API key provided: {SECRET}, or no model tiny"
    error = error_of(served, server, lambda asked: failing(status, words))
    assert isinstance(error, ConfigError)
    for part in ("tiny", "127.0.0.1", "SECRET_KEY", f"HTTP {status}", "Incorrect API key provided: ***"):
        assert part in str(error)
    assert len(server.asked) == 1


def after_an_answer(served: Served, server: ModelServer, fault: Answer) -> list[Any]:
    """What becomes of a call that is answered, one that meets the fault, and another one."""

    async def main() -> list[Any]:
        async with opened(served, server) as endpoint:
            calls = (
                asyncio.gather(endpoint.submit(a_request(served)), return_exceptions=True) for _ in "123"
            )
            return [(await call)[0] for call in calls]

    server.script = lambda asked: fault if asked.number == 1 else obliging(asked)
    return run(main())


@every_model
@pytest.mark.parametrize("status", [403, 404, 405, 410])
def test_a_refusal_among_answers_fails_its_record(served: Served, server: ModelServer, status: int) -> None:
    """OpenRouter says 403 of an input that it moderates."""
    answered, refused, next_one = after_an_answer(served, server, failing(status, "flagged"))
    assert answered.usage.cost == next_one.usage.cost == pytest.approx(served.cost)
    assert isinstance(refused, RecordError) and refused.kind is served.role.failed
    assert str(refused) == f"HTTP {status}: flagged"


@every_model
def test_a_key_that_is_withdrawn_ends_the_run(served: Served, server: ModelServer) -> None:
    _, refused, next_one = after_an_answer(served, server, failing(401, "withdrawn"))
    assert isinstance(refused, ConfigError) and isinstance(next_one, ConfigError)
    assert len(server.asked) == 2


@every_chat
@pytest.mark.parametrize("code", ["unsupported_value", "unsupported_parameter"])
def test_sampling_that_a_model_does_not_take_is_named(served: Served, server: ModelServer, code: str) -> None:
    words = "'temperature' does not support 0.0 with this model. " + "x" * 400
    error = error_of(served, server, lambda asked: failing(400, words, code))
    assert isinstance(error, ConfigError)
    field = {"policy": "policy.sampling", "judge": "judge.model.sampling"}[served.role.name]
    for part in ("'temperature' does not support 0.0", field, "set it to null"):
        assert part in str(error)
    edited = error_of(OPENAI_IMAGES, server, lambda asked: failing(400, "'quality' isn't taken", code))
    assert isinstance(edited, ConfigError) and "policy.sampling" not in str(edited)


@every_model
def test_a_wrong_address_ends_the_run(served: Served, server: ModelServer) -> None:
    error = error_of(served, server, obliging, base_url=f"http://127.0.0.1:{server.port}/wrong")
    assert isinstance(error, ConfigError) and "/wrong" in str(error)


def test_gemini_names_wrong_keys_and_daily_quotas_in_its_details(server: ModelServer) -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    wrong = gemini_error(400, "API key not valid.", "INVALID_ARGUMENT", reason)
    assert isinstance(error_of(GEMINI_IMAGES, server, lambda asked: wrong), ConfigError)
    violation = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    used_up = gemini_error(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED", violation)
    error = error_of(GEMINI_IMAGES, server, lambda asked: used_up)
    assert isinstance(error, EndpointError) and "quota" in str(error)


@pytest.mark.parametrize("served", [*CHATS, OPENAI_IMAGES], ids=lambda served: served.name)
def test_a_used_up_quota_ends_the_run(served: Served, server: ModelServer) -> None:
    error = error_of(served, server, lambda asked: failing(429, "buy credits", "insufficient_quota"))
    assert isinstance(error, EndpointError) and "SECRET_KEY is used up" in str(error)
    assert len(server.asked) == 1


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
    assert isinstance(error, RecordError) and error.kind is served.role.failed
    assert "refused to answer" in str(error)
    assert error.cost == pytest.approx(served.cost)


def test_an_answer_cut_off_at_its_limit_is_passed_on(server: ModelServer) -> None:
    body = chat_json("<edit>and then", finish_reason="length")
    server.script = lambda asked: Answer(body)
    assert once(POLICY_SERVED, server).value == "<edit>and then"


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


NOT_AN_IMAGE = base64.b64encode(b"no image").decode()
HUGE = png(Image.new("1", (9_000, 8_000)))


@every_editor
@pytest.mark.parametrize(
    ("encoded", "words"),
    [("no base64!", "base64"), (NOT_AN_IMAGE, "can't be read"), (HUGE, "9000 x 8000")],
    ids=["base64", "no-image", "huge"],
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


# Several at once


@every_model
def test_the_server_never_sees_more_calls_than_allowed(served: Served, server: ModelServer) -> None:
    go = threading.Event()

    def script(asked: Asked) -> Answer:
        answer = obliging(asked)
        if asked.number == 2:  # the third comes only if three are let in
            go.set()
        return Answer(answer.value, wait=go)

    server.script = script
    found, _ = patiently(served, server, times=12, concurrency=3)
    assert len(found) == 12 and not [one for one in found if isinstance(one, BaseException)]
    assert server.most_in_flight == 3


@every_model
def test_closing_lets_go_of_the_connections(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: Answer(how="hang")

    async def main() -> list[Any]:
        async with opened(served, server, concurrency=2) as endpoint:
            calls = [asyncio.create_task(endpoint.submit(a_request(served))) for _ in range(4)]
            await asyncio.to_thread(server.until, lambda: len(server.asked) == 2)
            await endpoint.close()
            return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.CancelledError] * 4
    server.until(lambda: server.dropped == 2)
    assert len(server.asked) == 2


@every_model
def test_a_storm_passes_without_a_record_lost(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: failing(429, "busy") if asked.number % 3 else obliging(asked)
    found, retries = patiently(served, server, times=10, concurrency=4)
    assert not [one for one in found if isinstance(one, UserError | RecordError)]
    assert retries == len(server.asked) - 10
