"""A policy behind an OpenAI-compatible chat endpoint: vLLM, SGLang, hosted models."""

from __future__ import annotations

from mira_batch.config.models.served import OpenAIPolicyConfig
from mira_batch.core.ports import PolicyRequest, Priced
from mira_batch.core.prompt import build_prompt, prompt_version
from mira_batch.models.remote.openai_chat import OpenAIChat
from mira_batch.models.serving import POLICY


class OpenAIPolicy:
    """A `core.ports.ServedPolicy`."""

    def __init__(self, config: OpenAIPolicyConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._shown = config.prompt
        self._chat = OpenAIChat(config, POLICY, config.sampling, config.prompt.max_pixels)
        self.prompt_version = prompt_version(config.prompt.form)
        self.log_tokens = False
        """Whether answers come with the log-probabilities of their tokens."""

    @property
    def identity(self) -> str:
        """Model, prompt and sampling."""
        return self._chat.describe(self.prompt_version, self._shown)

    async def propose(self, request: PolicyRequest) -> Priced[str]:
        """The text of the answer. One that was cut off at the token limit is malformed, as the loop will see.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses to answer.
        """
        shown = self._shown
        prompt = build_prompt(request, shown.guidance, shown.history, shown.form)
        return await self._chat.ask(prompt, request.seed, self.log_tokens)

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()
