"""Says an instruction in other words, by a model behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mira_batch.config.models.local import SamplingConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Priced
from mira_batch.core.prompt import Prompt, quote
from mira_batch.core.thoughts import CutOff, cut_thoughts
from mira_batch.models.remote.openai_chat import OpenAIChat, describe_sampling
from mira_batch.models.serving import POLICY, charge_errors

REWRITER = replace(POLICY, field="paraphrase.model", method="rewrite")
FORM = "rewrite/1"
"""Names the words below; changes whenever they do."""
_RULES = """\
You reword instructions for an image editor, as another person might have written them. Keep every change \
that is asked for, each object, colour, number, place and quoted word, and the order in which changes are \
named. Add nothing and leave nothing out. Answer with the reworded instruction alone, on one line, without \
quotation marks."""


@dataclass(frozen=True, slots=True)
class RewriteRequest:
    """What is to be said in other words."""

    instruction: str
    seed: int


class OpenAIRewriter:
    """One call for each paraphrase; `models.serving.Endpoint` makes them."""

    def __init__(self, config: ServedConfig, sampling: SamplingConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._chat = OpenAIChat(config, REWRITER, sampling, max_pixels=1)
        self.identity = f"openai {config.model} {FORM} {describe_sampling(sampling)}"
        """What changes its answers."""

    async def rewrite(self, request: RewriteRequest) -> Priced[str]:
        """The instruction in other words, as the model gave them, on one line.

        Raises:
            EndpointFault: the call failed.
            RecordError: the model refuses, or its answer is empty or was cut off.
        """
        text = f"<instruction>{quote(request.instruction)}</instruction>"
        answer = await self._chat.ask(Prompt(_RULES, (text,)), request.seed)
        aloud = cut_thoughts(answer.value)
        words = " ".join(aloud.answer.replace("<instruction>", " ").replace("</instruction>", " ").split())
        if isinstance(answer.value, CutOff) or aloud.unclosed or not words:
            with charge_errors(answer.cost):
                raise RecordError(REWRITER.failed, "the answer is empty, or reached its token limit")
        return Priced(words.replace("&lt;", "<"), answer.cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()
