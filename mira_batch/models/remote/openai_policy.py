"""A policy behind an OpenAI-compatible chat endpoint: vLLM, SGLang, hosted models."""

from __future__ import annotations

import asyncio
from typing import Any

from mira_batch.config.models.served import OpenAIPolicyConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.ports import PolicyRequest, Priced
from mira_batch.core.prompt import PROMPT_VERSION, build_prompt
from mira_batch.core.types import ErrorKind
from mira_batch.models.pictures import on_white
from mira_batch.models.remote.openai_client import open_client, openai_faults, priced, whole
from mira_batch.models.remote.pictures import data_url
from mira_batch.models.serving.faults import MOST_TEXT, charged, quoted

_UNSUPPORTED = "if it is temperature or top_p under policy.sampling, set it to null, and it is not sent"


class OpenAIPolicy:
    """Asks for one action at a time. Create, use and close it on one event loop."""

    def __init__(self, config: OpenAIPolicyConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._config = config
        self._client, self._key = open_client(config, "policy")

    @property
    def identity(self) -> str:
        prompt = fingerprint(self._config.prompt.model_dump(mode="json"))[:8]
        sampling = self._config.sampling
        drawn = " ".join(
            f"{name}={'default' if value is None else f'{value:g}'}"
            for name, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p))
        )
        return (
            f"openai {self._config.model} {PROMPT_VERSION} {prompt} {drawn} max_tokens={sampling.max_tokens}"
        )

    async def propose(self, request: PolicyRequest) -> Priced[str]:
        """The text of the answer. One that was cut off at the token limit is malformed, as the loop will see.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses to answer.
        """
        messages = await asyncio.to_thread(self._messages, request)
        with openai_faults(self._key, _UNSUPPORTED):
            completion = await self._client.chat.completions.create(
                model=self._config.model, messages=messages, **self._sampling(request)
            )
        usage = getattr(completion, "usage", None)
        cost = priced(self._config.prices, usage, "prompt_tokens", ("completion_tokens",))
        choice = whole(completion, "choices", self._key, cost)
        with charged(cost):
            return Priced(self._text(choice), cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _text(self, choice: Any) -> str:
        refusal = getattr(choice.message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            words = quoted(refusal or "its content filter", self._key)
            raise RecordError(ErrorKind.policy_failed, f"the endpoint refused to answer: {words}")
        text = choice.message.content or ""
        if len(text) > MOST_TEXT:
            raise RecordError(ErrorKind.policy_failed, f"the answer has {len(text):,} characters")
        return text

    def _messages(self, request: PolicyRequest) -> list[Any]:
        shown = self._config.prompt
        prompt = build_prompt(request, shown.guidance, shown.history)
        content: list[dict[str, Any]] = []
        for part in prompt.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                url = data_url(on_white(part.pixels), shown.max_pixels)
                content.append({"type": "image_url", "image_url": {"url": url}})
        return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]

    def _sampling(self, request: PolicyRequest) -> dict[str, Any]:
        """What is left out, a server takes from the model's own defaults, so only null is left out."""
        sampling = self._config.sampling
        # OpenAI's newer models refuse the old name; it is the one that every compatible server knows.
        limit = "max_completion_tokens" if self._config.base_url is None else "max_tokens"
        sent = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_tokens,
            "seed": request.seed % 2**31,  # servers take 32 or 64 bits, and some read it as a float
        }
        return {name: value for name, value in sent.items() if value is not None}
