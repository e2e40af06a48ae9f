"""A Qwen2.5-VL or Qwen3-VL in the worker, run by transformers: what policies and judges share of it.

Rows of a batch may have images of any size and number. They are padded on the left, and each draws from a
generator of its own, so that a row's text doesn't depend on its neighbours: on the CPU in float32 token for
token; on a GPU in bfloat16 the kernels round by the batch's shape, and a near tie may fall the other way.
What files a model needs is checked by `files.py`, and how tokens are drawn in `draws.py`.

Shapes: B rows, T tokens of the longest prompt, V vocabulary, P image patches of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenWeightsConfig, SamplingConfig
from mira_batch.core.answers import Tokens
from mira_batch.core.errors import EngineDead, RecordError, boundary
from mira_batch.core.identity import frame_of
from mira_batch.core.prompt import Prompt
from mira_batch.core.thoughts import ends_in_thought
from mira_batch.core.types import ErrorKind, Frame, Weights
from mira_batch.models.qwen.draws import Draws
from mira_batch.models.qwen.encode import collate, encode_prompt, write_chat
from mira_batch.models.qwen.files import check_adapter_files, check_attention, check_qwen_files
from mira_batch.models.qwen.load import explain_first_call, load_processor
from mira_batch.models.qwen.loaded import LoadKey, load_weights
from mira_batch.models.qwen.prefill import find_distinct, share_prompts
from mira_batch.models.qwen.shared import complete_answer, find_special_tokens
from mira_batch.models.serving import Turns, free_memory, is_out_of_memory
from mira_batch.models.sharing import Copies
from mira_batch.models.torch_support import find_device, prepare

if TYPE_CHECKING:
    from torch import Tensor

MAX_BATCH = 8
"""Requests in a call, unless the config says otherwise: at 7B about the point where decoding is no longer
bound by reading the weights."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a model is to the job, for its errors."""

    field: str
    """Where the job's config has the model."""
    shown: str
    """Where it has `max_pixels`."""
    failed: ErrorKind
    """What a request that can't be asked makes of the record."""


class QwenVL:
    """Holds the model on one device, maybe together with others. Calls may come from any thread; they run one
    after another."""

    def __init__(
        self,
        config: QwenWeightsConfig,
        weights: Weights,
        device: str,
        adapter: Weights | None,
        seat: Seat,
        max_pixels: int,
        sampling: SamplingConfig,
        copies: Copies | None = None,
    ) -> None:
        """Load the model, unless another has loaded the same.

        Args:
            config: how it runs.
            weights: its files on this node.
            device: where it goes: auto, cpu or cuda:N.
            adapter: the files of `config.adapter`.
            seat: what it is to the job.
            max_pixels: larger images are shown smaller.
            sampling: how its text is drawn.
            copies: what the process has loaded; None loads for this one alone.

        Raises:
            ConfigError: files are missing or don't fit, or the device isn't there or too small.
        """
        field = seat.field
        check_qwen_files(weights.path, f"{field}.weights")
        if adapter is not None:
            check_adapter_files(adapter.path, f"{field}.adapter.weights")
        self._device = find_device(device)
        check_attention(config, self._device.type == "cuda", field)
        prepare()
        self._seat = seat
        self._sampling = sampling
        self.processor = load_processor(weights.path, max_pixels, field)
        self._loaded = (copies or Copies()).take(
            LoadKey.of(config, weights, device, adapter),
            lambda: load_weights(config, weights, adapter, self._device, field),
        )
        self.model = self._loaded.model
        self._ends = find_end_tokens(self.model, self.processor.tokenizer)
        self._in_thought = ends_in_thought(self._apply_template(Prompt("", ("",))))
        self._never_V = _mask_never_said(self.model, self.processor.tokenizer, self._ends)

    @property
    def turn(self) -> Turns:
        """Held during each call. Whoever has several to make may hold it before and after, too."""
        return self._loaded.turn

    def _make_first_call(self, ask: Callable[[Frame, Frame], Prompt]) -> None:
        """Answer one request of two images as large as they are ever shown, with one token: what can't run is
        to be said before any record is touched. On a CPU it takes longer than it is worth.

        Raises:
            ConfigError: it failed; says what to change.
        """
        from PIL import Image

        side = math.isqrt(self.processor.image_processor.size["longest_edge"])
        first, second = (frame_of(Image.new("RGB", (side, side), colour)) for colour in ("black", "white"))
        seat = self._seat
        try:
            with boundary(seat.failed):
                row = self._encode(ask(first, second))
                if isinstance(row, RecordError):
                    raise row
                self._generate([row], [0], 1)
        except (RecordError, EngineDead) as error:
            cause = error.__cause__ or error
            raise explain_first_call(cause, self._device, side * side, seat.field, seat.shown) from error
        free_memory()  # or the editor, which is loaded next and runs on another stream, would find less

    def _apply_template(self, prompt: Prompt) -> str:
        """A prompt as the model's own template writes it; an image is one placeholder."""
        return write_chat(self.processor, prompt)

    def _encode(self, prompt: Prompt, longest: int | None = None) -> Mapping[str, Tensor] | RecordError:
        """One prompt as the model takes it, in a batch of one: its faults are its own."""
        try:
            with boundary(self._seat.failed):
                row = encode_prompt(self.processor, prompt, self._seat.failed)
                self._check_length(row["input_ids"].shape[1], longest or self._sampling.max_tokens)
                return row
        except RecordError as error:
            if error.__cause__ is not None and is_out_of_memory(error.__cause__):
                raise error.__cause__ from None  # of the whole call
            return error

    def _encode_all(
        self, prompts: Sequence[Prompt], longest: int | None = None
    ) -> list[Mapping[str, Tensor] | RecordError]:
        """As `_encode` each. Equal prompts are one row, which is encoded once, and run once where all rows of
        the batch have images."""
        made: dict[Hashable, Mapping[str, Tensor]] = {}
        rows: list[Mapping[str, Tensor] | RecordError] = []
        for prompt in prompts:
            row = made.get(prompt.key) or self._encode(prompt, longest)
            if not isinstance(row, RecordError):  # an error is its record's own, which may add to it
                made[prompt.key] = row
            rows.append(row)
        return rows

    def _check_length(self, tokens: int, longest: int) -> None:
        room = self.model.config.get_text_config().max_position_embeddings
        if tokens + longest > room:
            raise RecordError(
                self._seat.failed,
                f"the prompt has {tokens} tokens and the answer up to {longest}, but the model takes {room}; "
                f"shorten the instruction, or lower {self._seat.shown}.max_pixels or "
                f"{self._seat.field}.sampling.max_tokens",
            )

    def _generate(
        self,
        rows: Sequence[Mapping[str, Tensor]],
        seeds: Sequence[int],
        longest: int | None = None,
        log_tokens: bool = False,
    ) -> list[str]:
        """B rows -> B texts, each a `CutOff` where it reached the token limit; with their tokens, if these
        are to be logged."""
        draws = Draws(self._sampling, seeds, self._never_V, log_tokens)
        answers = self._run(rows, longest or self._sampling.max_tokens, draws)
        texts = self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ends = set(self._ends)
        drawn = [_take_to_end(row, ends) for row in answers.tolist()]
        logged: list[Tokens | None] = [None] * len(drawn)
        if log_tokens:
            found = draws.read_logprobs().tolist()
            logged = [
                Tokens(tuple(ids), tuple(row[: len(ids)])) for ids, row in zip(drawn, found, strict=True)
            ]
        return [
            complete_answer(text, self._in_thought, ends.isdisjoint(ids), tokens)
            for text, ids, tokens in zip(texts, drawn, logged, strict=True)
        ]

    def _score_first_token(self, rows: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """B rows -> log-probabilities (B, V) of the first token of each answer, in double precision: one
        forward pass, and nothing ruled out or drawn."""
        import torch

        logits_B_V = self._run(rows, 1, None)
        return torch.log_softmax(logits_B_V.double(), dim=-1)

    def _run(self, rows: Sequence[Mapping[str, Tensor]], longest: int, draws: Draws | None) -> Tensor:
        """The new tokens (B, N) of each row as they are drawn, or without draws the raw logits (B, V) of the
        first."""
        import torch

        with self.turn, torch.inference_mode(), self._loaded.use_stream():
            pad = self.processor.tokenizer.pad_token_id
            distinct, places = find_distinct(rows)
            batch = {name: value.to(self._device) for name, value in collate(distinct, pad).items()}
            if "pixel_values" in batch:
                batch["pixel_values"] = batch["pixel_values"].to(self.model.dtype)
            settings = self._configure_greedy(pad, longest, draws is None)
            if draws is None:
                return self.model.generate(**batch, generation_config=settings).logits[0].cpu()[places]
            begun = share_prompts(self.model, batch, places) if len(distinct) < len(rows) else batch
            found = self.model.generate(**begun, generation_config=settings, logits_processor=[draws])
            return found[:, batch["input_ids"].shape[1] :].cpu()

    def _configure_greedy(self, pad: int, longest: int, tell_logits: bool) -> Any:
        """Take the largest score: the draw is in the scores already. What a checkpoint's own generation
        config says of sampling and penalties must not count."""
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=longest,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=self._ends,
            pad_token_id=pad,
            output_logits=tell_logits,
            return_dict_in_generate=tell_logits,
        )


def _take_to_end(ids: Sequence[int], ends: Container[int]) -> Sequence[int]:
    """The tokens of a row up to the one that ends it; what follows is padding."""
    return next((ids[: place + 1] for place, id_ in enumerate(ids) if id_ in ends), ids)


def find_end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end an answer.

    Args:
        model: of transformers.
        tokenizer: its own.
    """
    declared = model.generation_config.eos_token_id
    found = declared if isinstance(declared, list) else [declared]
    return sorted({token for token in [*found, tokenizer.eos_token_id] if token is not None})


def _mask_never_said(model: Any, tokenizer: Any, ends: Sequence[int]) -> Tensor:
    """(V,) true for ids that are no part of an answer. An image placeholder would crash the next step, and
    the last ids of the vocabulary have no token at all."""
    import torch

    vocabulary = model.get_output_embeddings().weight.shape[0]
    never_V = torch.zeros(vocabulary, dtype=torch.bool)
    never_V[find_special_tokens(tokenizer, ends)] = True
    for name in ("image", "video", "vision_start", "vision_end"):
        never_V[getattr(model.config, f"{name}_token_id")] = True
    never_V[len(tokenizer) :] = True
    return never_V.to(model.device)
