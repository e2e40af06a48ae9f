"""A Qwen2.5-VL or Qwen3-VL that answers a judge's questions, run by transformers in the worker.

How a batch is run is the business of `model.py`; what is asked, and what becomes of the answers, of judges/.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mira_batch.config.models.judges import JudgeSamplingConfig, QwenVLBackendConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.prompt import Prompt
from mira_batch.core.questions import Answer, Question
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.qwen.model import MAX_BATCH, QwenVL, Seat
from mira_batch.models.qwen.shared import answer_rows, write_identity
from mira_batch.models.sharing import Copies


class QwenVLBackend(QwenVL):
    """A `core.questions.VisionLanguageModel`."""

    def __init__(
        self,
        config: QwenVLBackendConfig,
        weights: Weights,
        device: str,
        adapter: Weights | None,
        field: str,
        sampling: JudgeSamplingConfig,
        choices: Sequence[str] = (),
        copies: Copies | None = None,
    ) -> None:
        """Load the model, unless another has loaded the same.

        Args:
            config: how it runs.
            weights: its files on this node.
            device: where it goes: auto, cpu or cuda:N.
            adapter: the files of `config.adapter`.
            field: where the job's config has it, for errors.
            sampling: how its words are drawn.
            choices: texts that it will be asked the probability of.
            copies: what the process has loaded; None loads for this one alone.

        Raises:
            ConfigError: files are missing or don't fit, the device isn't there or too small, a choice is not
                one token, or the first call fails.
        """
        seat = Seat(field, field, ErrorKind.judge_failed)
        super().__init__(config, weights, device, adapter, seat, config.max_pixels, sampling, copies)
        import transformers

        if choices and self._in_thought:
            raise ConfigError(
                f"{field}.weights: {weights.path} holds a model that thinks before it answers, so its first "
                "token is no score; take an instruct model, or a judge that reads words (viescore)"
            )
        self._ids = {choice: self._find_token(choice) for choice in choices}
        settings = config.model_copy(update={"sampling": sampling})
        made_by = f"qwen-vl/1 transformers={transformers.__version__}"
        self.max_batch = config.max_batch or MAX_BATCH
        self.identity = write_identity(made_by, settings, weights, adapter)
        if self._device.type == "cuda":
            self._make_first_call(lambda first, second: Prompt("", (first, second, "Which is better?")))

    def bucket(self, question: Question) -> Hashable:
        """Words and probabilities are asked for by different calls."""
        return question.choices

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer | Exception]:
        """The model's words to each question, or the probabilities of its choices; a `RecordError` for one
        that can't be asked."""
        choices = questions[0].choices if questions else ()
        rows = self._encode_all([question.prompt for question in questions], 1 if choices else None)
        if not choices:
            texts = answer_rows(
                rows, lambda good, places: self._generate(good, [questions[place].seed for place in places])
            )
            return [Answer(text) if isinstance(text, str) else text for text in texts]
        scored = answer_rows(rows, lambda good, places: list(self._score_first_token(good)))
        return [row if isinstance(row, Exception) else self._pick(row, choices) for row in scored]

    def _pick(self, logprobs_V: object, choices: Sequence[str]) -> Answer:
        import torch

        assert isinstance(logprobs_V, torch.Tensor)
        top = logprobs_V.topk(5)
        likeliest = zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
        said = ", ".join(f"{self.processor.tokenizer.decode([id_])!r} {p:.3f}" for id_, p in likeliest)
        return Answer(said, {choice: float(logprobs_V[self._ids[choice]]) for choice in choices})

    def _find_token(self, text: str) -> int:
        """The id of the one token that a text is.

        Raises:
            ConfigError: it is several, or reads otherwise.
        """
        tokenizer = self.processor.tokenizer
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.decode(ids) != text:
            raise ConfigError(
                f"{self._seat.field}.weights: {text!r} is not one token of this model's tokenizer but {ids}, "
                "so its probability can't be read; take another model, or a judge that reads words (viescore)"
            )
        return ids[0]
