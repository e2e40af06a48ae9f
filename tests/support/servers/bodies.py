"""Answers of served models in words and in probabilities, whole, as the vendors' protocols have them."""

from __future__ import annotations

from typing import Any

from tests.support.servers.models import chat_json


def gemini_text(text: str, **candidate: Any) -> dict[str, Any]:
    """An answer in words."""
    content = {"role": "model", "parts": [{"text": text}]}
    usage = {"promptTokenCount": 300, "candidatesTokenCount": 50, "totalTokenCount": 350}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", **candidate}],
        "usageMetadata": usage,
    }


def token_json(top: list[tuple[str, float]]) -> dict[str, Any]:
    """An answer of one token, with the logprobs of the likeliest."""
    said = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in top]
    body = chat_json(top[0][0] if top else "5", finish_reason="length")
    body["choices"][0]["logprobs"] = {"content": [{**said[0], "top_logprobs": said}] if top else []}
    return body
