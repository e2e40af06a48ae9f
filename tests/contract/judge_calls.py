"""Judges over the test server: their configs, calls, and a script that answers all protocols well."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import JudgeRequest
from mira_batch.models.judges.imgedit import AXES
from mira_batch.models.loader import load_models
from tests.support.models.tiny import noise
from tests.support.servers.bodies import gemini_text, token_json
from tests.support.servers.models import Answer, Asked, ModelServer

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


def drawn(low: float, **more: Any) -> dict[str, Any]:
    """A judge whose score is known."""
    return {"type": "simulated", "low": low, "high": low, **more}


def panel(
    members: dict[str, dict[str, Any]], reliability: Sequence[float] = (), **more: Any
) -> dict[str, Any]:
    listed = [{"name": name, "model": model} for name, model in members.items()]
    for member, weight in zip(listed, reliability, strict=False):
        member["reliability"] = weight
    return {"type": "panel", "members": listed, **more}
