"""A Gemini model that answers a judge's questions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from mira_batch.config.models.judges import GeminiBackendConfig, JudgeSamplingConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Priced
from mira_batch.core.prompt import Prompt
from mira_batch.core.questions import Answer, Question
from mira_batch.core.thoughts import CutOff
from mira_batch.models.remote.first_token import TOP, read_first_token
from mira_batch.models.remote.gemini_client import GeminiClient
from mira_batch.models.remote.openai_backend import hide_key
from mira_batch.models.remote.openai_chat import describe_sampling
from mira_batch.models.remote.pictures import WIRE
from mira_batch.models.serving import JUDGE, MOST_TEXT, charge_errors, quote

_WHOLE = {"STOP", "FINISH_REASON_UNSPECIFIED", ""}
"""Finish reasons of an answer that came to its end."""


class GeminiBackend:
    """A `core.questions.ServedVisionLanguageModel`."""

    def __init__(self, config: GeminiBackendConfig, field: str, sampling: JudgeSamplingConfig) -> None:
        """
        Args:
            config: which model.
            field: where the job's config has it, for errors.
            sampling: how its words are drawn.

        Raises:
            ConfigError: the google-genai package or the key is missing.
        """
        self._client = GeminiClient(config, replace(JUDGE, field=field))
        self._sampling = sampling
        self._max_pixels = config.max_pixels
        self.identity = f"gemini {config.model} max_pixels={config.max_pixels} {describe_sampling(sampling)}"
        """What changes the answers."""

    async def answer(self, question: Question) -> Priced[Answer]:
        """One answer: words, or the probabilities of the choices.

        Args:
            question: what is asked.

        Raises:
            EndpointFault: the call failed, or there are no probabilities in its answer.
            RecordError: the model, or a filter, refuses to answer.
        """
        contents = await asyncio.to_thread(self._write_contents, question.prompt)
        settings = self._sample(question.seed)
        if question.choices:
            settings |= {"max_output_tokens": 1, "response_logprobs": True, "logprobs": TOP}
        answer = await self._client.generate(contents, **settings)
        cost = self._client.price(answer)
        with charge_errors(cost):
            candidate = self._client.take_candidate(answer)
            text = self._read(candidate)
            if question.choices:
                top = _list_top(candidate)
                return Priced(read_first_token(top, question.choices, self._client.key), cost)
            return Priced(Answer(text), cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _read(self, candidate: Any) -> str:
        parts = (candidate.content.parts if candidate.content else None) or []
        text = "".join(part.text for part in parts if part.text and not part.thought)
        if len(text) > MOST_TEXT:
            raise RecordError(JUDGE.failed, f"the answer has {len(text):,} characters")
        reason = candidate.finish_reason.value if candidate.finish_reason else ""
        text = hide_key(text, self._client.key)
        if reason in _WHOLE:
            return text
        if reason == "MAX_TOKENS":
            return CutOff(text)
        words = quote(f"{reason} {candidate.finish_message or ''}", self._client.key)
        raise RecordError(JUDGE.refused, f"the endpoint refused to answer: {words}")

    def _write_contents(self, prompt: Prompt) -> list[Any]:
        from google.genai import types

        return [
            part
            if isinstance(part, str)
            else types.Part.from_bytes(
                data=WIRE.encode(part, self._max_pixels, opaque=True), mime_type="image/png"
            )
            for part in prompt.parts
        ]

    def _sample(self, seed: int) -> dict[str, Any]:
        sampling = self._sampling
        sent = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_output_tokens": sampling.max_tokens,
            "seed": seed % 2**31,
        }
        return {name: value for name, value in sent.items() if value is not None}


def _list_top(candidate: Any) -> list[tuple[str, float]]:
    """The likeliest first tokens of an answer."""
    steps = getattr(candidate.logprobs_result, "top_candidates", None) or []
    return [(one.token, one.log_probability) for one in (steps[0].candidates or ())] if steps else []
