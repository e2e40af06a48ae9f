"""A policy behind an OpenAI-compatible chat endpoint: vLLM, SGLang, hosted models."""

from __future__ import annotations

import asyncio
from typing import Any

from mira_batch.config.served_models import OpenAIPolicyConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.ports import PolicyRequest, Priced
from mira_batch.core.prompt import PROMPT_VERSION, build_prompt
from mira_batch.core.types import ErrorKind
from mira_batch.models.openai_client import open_client, openai_faults, priced, whole
from mira_batch.models.served_faults import MOST_TEXT, quoted
from mira_batch.models.served_pictures import data_url


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
        return (
            f"openai {self._config.model} {PROMPT_VERSION} {prompt} temperature={sampling.temperature:g} "
            f"top_p={sampling.top_p:g} max_tokens={sampling.max_tokens}"
        )

    async def propose(self, request: PolicyRequest) -> Priced[str]:
        """The text of the answer. One that was cut off at the token limit is malformed, as the loop will see.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses to answer.
        """
        messages = await asyncio.to_thread(self._messages, request)
        with openai_faults(self._key):
            completion = await self._client.chat.completions.create(
                model=self._config.model, messages=messages, **self._sampling(request)
            )
        choice = whole(completion, "choices", self._key)
        message, usage = choice.message, getattr(completion, "usage", None)
        refusal = getattr(message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            words = quoted(refusal or "its content filter", self._key)
            raise RecordError(ErrorKind.policy_failed, f"the endpoint refused to answer: {words}")
        text = message.content or ""
        if len(text) > MOST_TEXT:
            raise RecordError(ErrorKind.policy_failed, f"the answer has {len(text):,} characters")
        return Priced(text, priced(self._config.prices, usage, "prompt_tokens", ("completion_tokens",)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _messages(self, request: PolicyRequest) -> list[Any]:
        shown = self._config.prompt
        prompt = build_prompt(request, shown.guidance, shown.history)
        content: list[dict[str, Any]] = []
        for part in prompt.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                url = data_url(part.pixels, shown.max_pixels)
                content.append({"type": "image_url", "image_url": {"url": url}})
        return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]

    def _sampling(self, request: PolicyRequest) -> dict[str, Any]:
        """All of it is always sent: what is left out, vLLM takes from the model's own defaults."""
        sampling = self._config.sampling
        # OpenAI's newer models refuse the old name; it is the one that every compatible server knows.
        limit = "max_completion_tokens" if self._config.base_url is None else "max_tokens"
        return {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_tokens,
            "seed": request.seed % 2**31,  # servers take 32 or 64 bits, and some read it as a float
        }
