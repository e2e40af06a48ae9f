"""A judge behind an OpenAI-compatible chat endpoint: any vision-language model, asked in our own form."""

from __future__ import annotations

from mira_batch.config.models.served import OpenAIJudgeConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import content_hash, seed
from mira_batch.core.judge_prompt import (
    JUDGE_FORM,
    MalformedJudgement,
    build_judge_prompt,
    parse_judgement,
)
from mira_batch.core.ports import Judgement, JudgeRequest, Priced
from mira_batch.models.remote.openai_chat import OpenAIChat
from mira_batch.models.serving import JUDGE, charge_errors, quote


class OpenAIJudge:
    """A `core.ports.ServedJudge`. The same images and instruction are asked about with the same seed, but for
    another draw."""

    def __init__(self, config: OpenAIJudgeConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._shown = config.prompt
        self._chat = OpenAIChat(config, JUDGE, config.sampling, config.prompt.max_pixels)

    @property
    def identity(self) -> str:
        """Model, form of the question and sampling."""
        return self._chat.describe(JUDGE_FORM, self._shown)

    async def score(self, request: JudgeRequest) -> Priced[Judgement]:
        """A score in [0, 1] and the reason, read from one answer.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses to answer, or its answer holds no score; its start is quoted.
        """
        asked = content_hash(request.instruction, request.original.digest, request.candidate.digest)
        prompt = build_judge_prompt(request, self._shown.guidance)
        answer = await self._chat.ask(prompt, seed(asked, "judge", 0, request.draw))
        judgement = parse_judgement(answer.value)
        if isinstance(judgement, MalformedJudgement):
            start = quote(answer.value, self._chat.key) or "nothing"
            with charge_errors(answer.cost):
                raise RecordError(
                    JUDGE.failed, f"the judge's answer can't be used: {judgement.problem}: {start!r}"
                )
        return Priced(judgement, answer.cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()
