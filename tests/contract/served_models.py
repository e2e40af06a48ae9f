"""The served models, all tested alike over a real socket. A new one joins by its config in `SERVED`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from mira_batch.config.models import EditorConfig, JudgeConfig, PolicyConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, JudgeRequest, PolicyRequest
from mira_batch.core.types import Frame, Step
from mira_batch.models.remote.gemini_images import GeminiImages
from mira_batch.models.remote.openai_images import OpenAIImages
from mira_batch.models.remote.openai_judge import OpenAIJudge
from mira_batch.models.remote.openai_policy import OpenAIPolicy
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.roles import EDITOR, Role
from tests.support.models.roles import JUDGE, POLICY
from tests.support.servers.models import Answer, ModelServer, Script, obliging

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
