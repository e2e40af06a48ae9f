"""Any vision-language model behind an OpenAI-compatible chat endpoint, which answers a judge's questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mira_batch.config.models.judges import JudgeSamplingConfig, OpenAIBackendConfig
from mira_batch.core.ports import Priced
from mira_batch.core.questions import Answer, Question
from mira_batch.models.remote.first_token import TOP, read_first_token
from mira_batch.models.remote.openai_chat import OpenAIChat, describe_sampling
from mira_batch.models.serving import JUDGE, charge_errors


class OpenAIBackend:
    """A `core.questions.ServedVisionLanguageModel`."""

    def __init__(self, config: OpenAIBackendConfig, field: str, sampling: JudgeSamplingConfig) -> None:
        """
        Args:
            config: which endpoint and model.
            field: where the job's config has it, for errors.
            sampling: how its words are drawn.

        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._chat = OpenAIChat(config, replace(JUDGE, field=field), sampling, config.max_pixels)
        self.identity = f"openai {config.model} max_pixels={config.max_pixels} {describe_sampling(sampling)}"
        """What changes the answers."""

    async def answer(self, question: Question) -> Priced[Answer]:
        """One answer: words, or the probabilities of the choices.

        Args:
            question: what is asked.

        Raises:
            EndpointFault: the call failed, or there are no probabilities in its answer.
            RecordError: the model refuses to answer, or doesn't come to an end.
        """
        if not question.choices:
            words = await self._chat.ask(question.prompt, question.seed)
            return Priced(Answer(hide_key(words.value, self._chat.key)), words.cost)
        choice, cost = await self._chat.complete_token(question.prompt, question.seed, TOP)
        with charge_errors(cost):
            self._chat.check_refusal(choice)
            return Priced(read_first_token(_list_top(choice), question.choices, self._chat.key), cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()


def hide_key(text: str, key: str | None) -> str:
    """The answer without the key of the endpoint, which an answer that is kept must never hold.

    Args:
        text: what the model said.
        key: never keep.
    """
    if not key or key not in text:
        return text
    return type(text)(text.replace(key, "***"))


def _list_top(choice: Any) -> list[tuple[str, float]]:
    """The likeliest first tokens of an answer, in the order in which they came."""
    logprobs = getattr(choice, "logprobs", None)
    tokens = getattr(logprobs, "content", None) or []
    return [(one.token, one.logprob) for one in (tokens[0].top_logprobs or ())] if tokens else []
