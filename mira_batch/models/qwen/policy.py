"""A Qwen2.5-VL or Qwen3-VL policy, run by transformers in the worker.

Rows of a batch may have images of any size and number. They are padded on the left, and each draws from a
generator of its own, so that a row's text doesn't depend on its neighbours: on the CPU in float32 token for
token; on a GPU in bfloat16 the kernels round by the batch's shape, and a near tie may fall the other way.
What files a model needs is checked by `files.py`, what it is told is in `core/prompt.py`, and how tokens
are drawn in `draws.py`.

Shapes: B rows, T tokens of the longest prompt, V vocabulary, P image patches of the whole batch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.errors import EngineDead, RecordError, boundary
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt
from mira_batch.core.thoughts import ends_in_thought
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.qwen.draws import Draws
from mira_batch.models.qwen.files import check_adapter_files, check_attention, check_qwen_files
from mira_batch.models.qwen.load import add_adapter, explain_first_call, load_model, load_processor
from mira_batch.models.qwen.shared import (
    answer_rows,
    complete_answer,
    find_special_tokens,
    make_opaque,
    write_identity,
)
from mira_batch.models.serving import free_memory, is_out_of_memory
from mira_batch.models.torch_support import (
    check_memory,
    count_loaded_bytes,
    find_device,
    list_weight_files,
    prepare,
)

if TYPE_CHECKING:
    from torch import Tensor

MAX_BATCH = 8
"""Requests in a call, unless the config says otherwise: at 7B about the point where decoding is no longer
bound by reading the weights."""
_WAYS_OUT = "set dtype: bfloat16, put the editor on another GPU (editor.devices), or take a smaller model"


class QwenVLPolicy:
    """Holds the model on one device. Calls may come from any thread; they run one after another."""

    def __init__(
        self, config: QwenVLConfig, weights: Weights, device: str, adapter: Weights | None = None
    ) -> None:
        """Load the model.

        Args:
            config: how it runs.
            weights: its files on this node.
            device: where it goes: auto, cpu or cuda:N.
            adapter: the files of `config.adapter`.

        Raises:
            ConfigError: files are missing or don't fit, the device isn't there or too small, or the first
                call on it fails.
        """
        check_qwen_files(weights.path)
        if adapter is not None:
            check_adapter_files(adapter.path)
        self._device = find_device(device)
        check_attention(config, self._device.type == "cuda")
        prepare()
        import torch
        import transformers

        self._config = config
        needed = count_loaded_bytes(list_weight_files(Path(weights.path)), config.dtype)
        check_memory(needed, self._device, "policy.weights", _WAYS_OUT)
        self.processor = load_processor(config, weights.path)
        self.model = load_model(config, weights.path, self._device)
        if adapter is not None and config.adapter is not None:
            add_adapter(self.model, adapter.path, config.adapter.scale)
        self.model.eval()
        self._ends = _find_end_tokens(self.model, self.processor.tokenizer)
        self._in_thought = ends_in_thought(self._apply_template(Prompt("", ("",))))
        self._never_V = _mask_never_said(self.model, self.processor.tokenizer, self._ends)
        on_gpu = self._device.type == "cuda"
        self._stream = torch.cuda.Stream(self._device) if on_gpu else None
        if on_gpu:
            torch.cuda.synchronize(self._device)  # weights are copied on another stream than ours
        self._one_at_a_time = threading.Lock()  # generate() keeps M-RoPE offsets on the model itself
        made_by = f"qwen-vl/1 transformers={transformers.__version__}"
        self.max_batch = config.max_batch or MAX_BATCH
        self.identity = write_identity(made_by, config, weights, adapter)
        if on_gpu:
            self.warm_up()

    def bucket(self, request: PolicyRequest) -> Hashable:
        """All share a batch: the padding takes care of sizes."""
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The model's text for each request, a `CutOff` where it reached the token limit; a `RecordError` for
        one that can't be asked."""
        rows = [self.encode(request) for request in requests]
        return answer_rows(
            rows, lambda good, places: self._generate(good, [requests[place].seed for place in places])
        )

    def warm_up(self) -> None:
        """Answer one request of two images as large as they are ever shown, with one token: what can't run is
        to be said before any record is touched. On a CPU it takes longer than it is worth.

        Raises:
            ConfigError: it failed; says what to change.
        """
        from PIL import Image

        side = math.isqrt(self.processor.image_processor.size["longest_edge"])
        first, second = (frame_of(Image.new("RGB", (side, side), colour)) for colour in ("black", "white"))
        try:
            with boundary(ErrorKind.policy_failed):
                row = self.encode(PolicyRequest("warm-up", "stop", first, second, (), 0))
                if isinstance(row, RecordError):
                    raise row
                self._generate([row], [0], 1)
        except (RecordError, EngineDead) as error:
            raise explain_first_call(error.__cause__ or error, self._device, side * side) from error
        free_memory()  # or the editor, which is loaded next and runs on another stream, would find less

    def write_prompt(self, request: PolicyRequest) -> str:
        """The text of a request as the model's own template writes it; an image is one placeholder."""
        return self._apply_template(self._build_prompt(request))

    def _build_prompt(self, request: PolicyRequest) -> Prompt:
        return build_prompt(request, self._config.prompt.guidance, self._config.prompt.history)

    def _apply_template(self, prompt: Prompt) -> str:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in prompt.parts
        ]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
            {"role": "user", "content": content},
        ]
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def encode(self, request: PolicyRequest) -> Mapping[str, Tensor] | RecordError:
        """One request as the model takes it, in a batch of one: its faults are its own."""
        try:
            with boundary(ErrorKind.policy_failed):
                prompt = self._build_prompt(request)
                images = [make_opaque(frame.pixels) for frame in prompt.frames]
                row = self.processor(text=[self._apply_template(prompt)], images=images, return_tensors="pt")
                self._check_length(row["input_ids"].shape[1])
                return row
        except RecordError as error:
            if error.__cause__ is not None and is_out_of_memory(error.__cause__):
                raise error.__cause__ from None  # of the whole call
            return error

    def _check_length(self, tokens: int) -> None:
        room = self.model.config.get_text_config().max_position_embeddings
        longest = self._config.sampling.max_tokens
        if tokens + longest > room:
            raise RecordError(
                ErrorKind.policy_failed,
                f"the prompt has {tokens} tokens and the answer up to {longest}, but the model takes {room}; "
                "shorten the instruction, or lower policy.prompt.max_pixels or policy.sampling.max_tokens",
            )

    def _generate(
        self, rows: Sequence[Mapping[str, Tensor]], seeds: Sequence[int], longest: int | None = None
    ) -> list[str]:
        import torch

        with self._one_at_a_time, torch.inference_mode(), self._use_stream():
            pad = self.processor.tokenizer.pad_token_id
            batch = {name: value.to(self._device) for name, value in collate(rows, pad).items()}
            if "pixel_values" in batch:
                batch["pixel_values"] = batch["pixel_values"].to(self.model.dtype)
            ids_B_T = self.model.generate(
                **batch,
                generation_config=self._configure_greedy(pad, longest or self._config.sampling.max_tokens),
                logits_processor=[Draws(self._config.sampling, seeds, self._never_V)],
            )
            answers = ids_B_T[:, batch["input_ids"].shape[1] :].cpu()
        texts = self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ends = set(self._ends)
        return [
            complete_answer(text, self._in_thought, cut_off=ends.isdisjoint(row))
            for text, row in zip(texts, answers.tolist(), strict=True)
        ]

    def _configure_greedy(self, pad: int, longest: int) -> Any:
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
        )

    def _use_stream(self) -> AbstractContextManager[Any]:
        import torch

        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def collate(rows: Sequence[Mapping[str, Tensor]], pad: int) -> dict[str, Tensor]:
    """Rows of one request each as one batch: what is per token padded on the left to (B, T), what is per
    image or patch one after another (P, …), which is the order in which the model takes it."""
    import torch

    longest = max(row["input_ids"].shape[1] for row in rows)
    fill = {"input_ids": pad, "attention_mask": 0, "mm_token_type_ids": 0}
    batch: dict[str, Tensor] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in fill:
            values = [
                torch.nn.functional.pad(value, (longest - value.shape[1], 0), value=fill[name])
                for value in values
            ]
        batch[name] = torch.cat(values)
    return batch


def _find_end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end an answer."""
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
