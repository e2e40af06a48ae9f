"""A chat endpoint of OpenAI's protocol (vLLM, SGLang, hosted models), asked by a policy or a judge.

Owns the messages, the sampling, the price of an answer, and what a refusal is. What is asked, and what is
read from the answer, is left to `openai_policy.py`, `openai_judge.py` and `openai_backend.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mira_batch.config.base import Strict
from mira_batch.config.models.local import SamplingConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.answers import Answered, Tokens
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.ports import Priced
from mira_batch.core.prompt import Prompt
from mira_batch.core.thoughts import CutOff
from mira_batch.models.remote.openai_client import open_client, price_call, take_first, turn_openai_faults
from mira_batch.models.remote.pictures import WIRE, write_data_url
from mira_batch.models.serving import (
    MOST_TEXT,
    EndpointFault,
    Meaning,
    Role,
    charge_errors,
    quote,
)

_UNFINISHED = {"length", "max_tokens", "model_length", "max_output_tokens", "abort", "error"}
"""Finish reasons of an answer that isn't whole, as OpenAI, its gateways, vLLM and SGLang call them."""


class OpenAIChat:
    """Asks one question at a time. Create, use and close it on one event loop."""

    def __init__(self, config: ServedConfig, role: Role, sampling: SamplingConfig, max_pixels: int) -> None:
        """
        Args:
            config: which endpoint.
            role: what it is to the job.
            sampling: how its text is drawn.
            max_pixels: larger images are shown smaller.

        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._config = config
        self._role = role
        self._sampling = sampling
        self._max_pixels = max_pixels
        self._client, self.key = open_client(config, role.field)

    def describe(self, form: str, prompt: Strict) -> str:
        """What changes the answers.

        Args:
            form: the name of the words that it is asked in.
            prompt: the settings of what it is shown and told.
        """
        words = fingerprint(prompt.model_dump(mode="json"))[:8]
        return f"openai {self._config.model} {form} {words} {describe_sampling(self._sampling)}"

    async def ask(self, prompt: Prompt, seed: int, log_tokens: bool = False) -> Priced[str]:
        """The text of the answer; a `CutOff` where it reached the token limit.

        Args:
            prompt: what is shown and told.
            seed: for what is drawn.
            log_tokens: whether the answer is to come with the log-probabilities of its tokens.

        Raises:
            EndpointFault: the call failed, or there are no log-probabilities in its answer.
            RecordError: the model refuses to answer, or doesn't come to an end.
        """
        settings = self._sample(seed) | ({"logprobs": True} if log_tokens else {})
        choice, cost = await self.complete(prompt, settings)
        with charge_errors(cost):
            return Priced(self._read(choice, log_tokens), cost)

    async def complete_token(self, prompt: Prompt, seed: int, top: int) -> tuple[Any, float]:
        """The first choice of an answer of one token, with so many of the likeliest first tokens, and what it
        was charged.

        Args:
            prompt: what is shown and told.
            seed: for what is drawn.
            top: tokens to tell of.

        Raises:
            EndpointFault: the call failed.
        """
        one = {self.limit: 1, "logprobs": True, "top_logprobs": top}
        return await self.complete(prompt, self._sample(seed) | one)

    async def complete(self, prompt: Prompt, settings: dict[str, Any]) -> tuple[Any, float]:
        """The first choice of the answer, as the client gives it, and what it was charged.

        Args:
            prompt: what is shown and told.
            settings: of the call.

        Raises:
            EndpointFault: the call failed.
        """
        messages = await asyncio.to_thread(self._write_messages, prompt)
        sampling = f"{self._role.field}.sampling"
        hint = f"if it is temperature or top_p under {sampling}, set it to null, and it is not sent"
        with turn_openai_faults(self.key, hint):
            completion = await self._client.chat.completions.create(
                model=self._config.model, messages=messages, **settings
            )
        usage = getattr(completion, "usage", None)
        cost = price_call(self._config.prices, usage, "prompt_tokens", ("completion_tokens",))
        choice = take_first(completion, "choices", self.key, cost)
        if not hasattr(getattr(choice, "message", None), "content"):
            with charge_errors(cost):
                raise EndpointFault(Meaning.broken, "the answer has no message")
        return choice, cost

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def check_refusal(self, choice: Any) -> None:
        """
        Args:
            choice: of an answer.

        Raises:
            RecordError: the model, or a filter of its endpoint, refuses to answer.
        """
        refusal = getattr(choice.message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            words = quote(str(refusal or "its content filter"), self.key)
            raise RecordError(self._role.refused, f"the endpoint refused to answer: {words}")

    def _read(self, choice: Any, log_tokens: bool) -> str:
        self.check_refusal(choice)
        text = choice.message.content or ""
        if not isinstance(text, str):  # the client checks no form
            raise RecordError(self._role.failed, f"the answer is no text, but a {type(text).__name__}")
        if len(text) > MOST_TEXT:
            raise RecordError(self._role.failed, f"the answer has {len(text):,} characters")
        tokens = read_tokens(choice) if log_tokens else None
        if str(choice.finish_reason).lower() in _UNFINISHED:
            return CutOff(text, tokens)
        return text if tokens is None else Answered(text, tokens)

    def _write_messages(self, prompt: Prompt) -> list[Any]:
        content: list[dict[str, Any]] = []
        for part in prompt.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                url = write_data_url(WIRE.encode(part, self._max_pixels, opaque=True))
                content.append({"type": "image_url", "image_url": {"url": url}})
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        return [*system, {"role": "user", "content": content}]

    def _sample(self, seed: int) -> dict[str, Any]:
        """What is left out, a server takes from the model's own defaults, so only null is left out."""
        sampling = self._sampling
        sent = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.limit: sampling.max_tokens,
            "seed": seed % 2**31,  # servers take 32 or 64 bits, and some read it as a float
            "extra_body": {"top_k": top_k} if (top_k := getattr(sampling, "top_k", None)) else None,
        }
        return {name: value for name, value in sent.items() if value is not None}

    @property
    def limit(self) -> str:
        """What bounds the tokens of an answer. OpenAI's newer models refuse the old name; it is the one that
        every compatible server knows."""
        return "max_completion_tokens" if self._config.base_url is None else "max_tokens"


def read_tokens(choice: Any) -> Tokens:
    """The log-probabilities of an answer's tokens. Endpoints don't say which ids these have.

    Raises:
        EndpointFault: there are none.
    """
    content: Any = getattr(getattr(choice, "logprobs", None), "content", None)
    if content is None:
        raise EndpointFault(
            Meaning.settings,
            "the answer has no logprobs, which output.tokens asks for; take a server that gives them (vLLM, "
            "SGLang), or leave output.tokens out",
        )
    logprobs: Any = tuple(getattr(one, "logprob", None) for one in content)
    return Tokens(None, logprobs)


def describe_sampling(sampling: SamplingConfig) -> str:
    """How text is drawn, as a part of an identity.

    Args:
        sampling: of a policy or a judge.
    """
    top_k = getattr(sampling, "top_k", None)
    drawn = " ".join(
        f"{name}={'default' if value is None else f'{value:g}'}"
        for name, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p))
    )
    return f"{drawn}{f' top_k={top_k}' if top_k else ''} max_tokens={sampling.max_tokens}"
