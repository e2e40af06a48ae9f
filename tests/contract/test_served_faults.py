"""Faults of an endpoint, over a real socket: which every served model waits out, and which end the run."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from PIL import Image

from mira_batch.core.errors import ConfigError, EndpointError, RecordError
from mira_batch.core.types import ErrorKind
from tests.contract.served_models import (
    CHATS,
    GEMINI_IMAGES,
    IMAGE,
    OPENAI_IMAGES,
    SECRET,
    Served,
    a_request,
    error_of,
    every_chat,
    every_model,
    first,
    opened,
    patiently,
    run,
)
from tests.support.servers.models import (
    Answer,
    ModelServer,
    failing,
    gemini_error,
    model_server,
    obliging,
)

pytestmark = pytest.mark.usefixtures("clean_environment")


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


@every_chat
def test_a_request_that_is_larger_than_a_minutes_limit_fails_its_record(
    served: Served, server: ModelServer
) -> None:
    """OpenAI says 429 of it, as of a request that comes too soon."""
    words = "Request too large for tiny on tokens per min (TPM): Limit 30000, Requested 45000."
    error = error_of(served, server, lambda asked: failing(429, words, "rate_limit_exceeded"))
    assert isinstance(error, RecordError) and "Requested 45000" in str(error)
    assert len(server.asked) == 1


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
    assert "asks for a pause of 3600 s, more than 600 s (retry_seconds)" in str(error)
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


@every_model
@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed(served: Served, server: ModelServer, status: int) -> None:
    with model_server() as another:
        elsewhere = another.gemini_url if served is GEMINI_IMAGES else another.url
        address = f"{elsewhere.replace('//', '//ann:secret@')}?token=secret#secret"
        moved = Answer("moved", status, {"Location": address}, content_type="text/plain")
        error = error_of(served, server, lambda asked: moved)
        assert isinstance(error, ConfigError)
        shown = elsewhere.replace("//", "//***@")
        assert f"HTTP {status}: the endpoint redirects to {shown}, which is not followed" in str(error)
        assert "secret" not in str(error)
        assert "name its own address as base_url" in str(error)
        assert len(server.asked) == 1 and another.asked == []


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
