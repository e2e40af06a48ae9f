"""A chat endpoint of OpenAI's protocol (vLLM, SGLang, hosted models), asked by a policy or a judge.

Owns the messages, the sampling, the price of an answer, and what a refusal is. What is asked, and what is
read from the answer, is left to `openai_policy.py` and `openai_judge.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mira_batch.config.models.served import OpenAIJudgeConfig, OpenAIPolicyConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.ports import Priced
from mira_batch.core.prompt import Prompt
from mira_batch.core.thoughts import CutOff
from mira_batch.models.remote.openai_client import open_client, price_call, take_first, turn_openai_faults
from mira_batch.models.remote.pictures import write_data_url
from mira_batch.models.serving import MOST_TEXT, Role, charge_errors, lay_on_white, quote

_UNFINISHED = {"length", "max_tokens", "model_length", "max_output_tokens", "abort", "error"}
"""Finish reasons of an answer that isn't whole, as OpenAI, its gateways, vLLM and SGLang call them."""


class OpenAIChat:
    """Asks one question at a time. Create, use and close it on one event loop."""

    def __init__(self, config: OpenAIPolicyConfig | OpenAIJudgeConfig, role: Role) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._config = config
        self._role = role
        self._client, self.key = open_client(config, role.field)

    def describe(self, form: str) -> str:
        """What changes the answers: model, sampling, and what is asked, whose words `form` names."""
        prompt = fingerprint(self._config.prompt.model_dump(mode="json"))[:8]
        sampling = self._config.sampling
        drawn = " ".join(
            f"{name}={'default' if value is None else f'{value:g}'}"
            for name, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p))
        )
        return f"openai {self._config.model} {form} {prompt} {drawn} max_tokens={sampling.max_tokens}"

    async def ask(self, prompt: Prompt, seed: int) -> Priced[str]:
        """The text of the answer; a `CutOff` where it reached the token limit.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses to answer, or doesn't come to an end.
        """
        messages = await asyncio.to_thread(self._write_messages, prompt)
        sampling = f"{self._role.field}.sampling"
        hint = f"if it is temperature or top_p under {sampling}, set it to null, and it is not sent"
        with turn_openai_faults(self.key, hint):
            completion = await self._client.chat.completions.create(
                model=self._config.model, messages=messages, **self._sample(seed)
            )
        usage = getattr(completion, "usage", None)
        cost = price_call(self._config.prices, usage, "prompt_tokens", ("completion_tokens",))
        choice = take_first(completion, "choices", self.key, cost)
        with charge_errors(cost):
            return Priced(self._read(choice), cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _read(self, choice: Any) -> str:
        refusal = getattr(choice.message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            words = quote(refusal or "its content filter", self.key)
            raise RecordError(self._role.failed, f"the endpoint refused to answer: {words}")
        text = choice.message.content or ""
        if len(text) > MOST_TEXT:
            raise RecordError(self._role.failed, f"the answer has {len(text):,} characters")
        return CutOff(text) if str(choice.finish_reason).lower() in _UNFINISHED else text

    def _write_messages(self, prompt: Prompt) -> list[Any]:
        content: list[dict[str, Any]] = []
        for part in prompt.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                url = write_data_url(lay_on_white(part.pixels), self._config.prompt.max_pixels)
                content.append({"type": "image_url", "image_url": {"url": url}})
        return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]

    def _sample(self, seed: int) -> dict[str, Any]:
        """What is left out, a server takes from the model's own defaults, so only null is left out."""
        sampling = self._config.sampling
        # OpenAI's newer models refuse the old name; it is the one that every compatible server knows.
        limit = "max_completion_tokens" if self._config.base_url is None else "max_tokens"
        sent = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_tokens,
            "seed": seed % 2**31,  # servers take 32 or 64 bits, and some read it as a float
        }
        return {name: value for name, value in sent.items() if value is not None}
