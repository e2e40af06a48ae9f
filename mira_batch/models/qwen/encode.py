"""A prompt as a Qwen-VL takes it, and rows of prompts as a batch. Those who ask a model and those who train
it encode by the same code, so that a model is trained on what it will be shown.

Shapes: B rows, T tokens of the longest row, P image patches of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mira_batch.core.prompt import Prompt
from mira_batch.core.types import ErrorKind
from mira_batch.models.qwen.shared import make_opaque

if TYPE_CHECKING:
    from torch import Tensor


def write_chat(processor: Any, prompt: Prompt) -> str:
    """A prompt as the model's own template writes it, up to where its answer begins; an image is one
    placeholder.

    Args:
        processor: of the model.
        prompt: what is asked.
    """
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
        for part in prompt.parts
    ]
    system = [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}]
    messages = [*(system if prompt.system else ()), {"role": "user", "content": content}]
    return processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompt(processor: Any, prompt: Prompt, failed: ErrorKind) -> Mapping[str, Tensor]:
    """One prompt as the model takes it, in a batch of one.

    Args:
        processor: of the model, as `load_processor` sets it.
        prompt: what is asked, and what is shown.
        failed: what an image that can't be shown makes of the record.

    Raises:
        RecordError: an image is too long and narrow for the model.
    """
    images = [make_opaque(frame.pixels, failed) for frame in prompt.frames]
    return processor(text=[write_chat(processor, prompt)], images=images or None, return_tensors="pt")


def collate(
    rows: Sequence[Mapping[str, Tensor]], pad: int, side: Literal["left", "right"] = "left"
) -> dict[str, Tensor]:
    """Rows of one request each as one batch: what is per token padded to (B, T), what is per image or patch
    one after another (P, …), which is the order in which the model takes it.

    Args:
        rows: as `encode_prompt` gives them.
        pad: id of the token that fills.
        side: where: left of a prompt that is to be gone on from, right of a text that is whole.
    """
    import torch

    longest = max(row["input_ids"].shape[1] for row in rows)
    fill = {"input_ids": pad, "attention_mask": 0, "mm_token_type_ids": 0, "labels": -100}
    batch: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for row in rows for name in row):  # a row without images lacks theirs
        values = [row[name] for row in rows if name in row]
        if name in fill:
            lacks = [longest - value.shape[1] for value in values]
            values = [
                torch.nn.functional.pad(value, (lack, 0) if side == "left" else (0, lack), value=fill[name])
                for value, lack in zip(values, lacks, strict=True)
            ]
        batch[name] = torch.cat(values)
    return batch
