"""Tiny Qwen2.5-VL and Qwen3-VL models: real classes, real files, random weights.

A model is about 1 MB and answers nonsense in milliseconds; what is real is everything around it: the
tokenizer with Qwen's special tokens and split, the chat template with image slots, the processors, windowed
vision attention and M-RoPE. The same files come out each time, so digests of them can be pinned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import build_prompt
from mira_batch.core.types import Frame
from mira_batch.models.tiny.parts import (
    CHAT_TEMPLATE,
    count_vocabulary,
    find_text_ids,
    find_token_ids,
    learn_tokenizer,
    set_ends,
)
from mira_batch.models.torch_support import prepare

HIDDEN = 64
"""Width of the text model; the pipelines' transformers take its hidden states."""
_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": HIDDEN,
}
"""The vision tower of both."""
LAYERS = 2
HEADS = 4
MROPE = [2, 3, 3]
"""Pairs of rotary dimensions for time, height and width; half of a head's 16 dimensions."""
_LOUDER = {"embed_tokens": 0.0, "lm_head": 16.0, "q_proj": 8.0, "k_proj": 8.0}
"""Factors of the matrices by a part of their name, 4 for the others, 0 to leave one alone. At the usual
initialisation neither image nor instruction would move an answer, and crossed wires would go unnoticed."""
MIN_PIXELS = 28 * 28
MAX_PIXELS = 28 * 28 * 16
"""An image is at most 16 tokens, so that a prompt stays short."""

_TEXTS = (
    # The system prompt of the Qwen-Image-Edit pipelines, which cut it off again by its length in tokens.
    "system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a "
    "new image that meets the user's requirements while maintaining consistency with the original input "
    "where appropriate.\n"
    "user\nassistant\nPicture 1: Picture 2: ",
    "<think>the image shows what is asked; nothing is missing</think>\n<edit>make the image brighter</edit>\n"
    "<stop>done</stop>",
)


def _collect_corpus() -> list[str]:
    """What the tokenizers learn their words from, a policy's own prompt included, which gets short by it."""
    request = PolicyRequest("", "", Frame(None, "original"), Frame(None, "current"), (), seed=0)
    prompt = build_prompt(request)
    return [*_TEXTS, prompt.system, *(part for part in prompt.parts if isinstance(part, str))]


def write_qwen2_5_vl(directory: Path) -> None:
    """Write a tiny Qwen2.5-VL as `save_pretrained` does: model, tokenizer, processor, chat template."""
    model, _, processor = build_tiny_qwen()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def write_qwen3_vl(directory: Path) -> None:
    """Write a tiny Qwen3-VL as `save_pretrained` does."""
    prepare()
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = learn_tokenizer(_collect_corpus())
    size = {"shortest_edge": 32 * 32, "longest_edge": 32 * 32 * 16}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size=size, patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    )
    vision = _VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    text = {**_size_text_model(tokenizer), "head_dim": HIDDEN // HEADS}
    text["rope_parameters"] = {**text["rope_parameters"], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **find_token_ids(tokenizer)
    )
    _build_seeded(Qwen3VLForConditionalGeneration, config, tokenizer).save_pretrained(directory)
    processor.save_pretrained(directory)


def build_tiny_qwen() -> tuple[Any, Any, Any]:
    """A tiny Qwen2.5-VL as (model, tokenizer, processor), for a pipeline that has one inside."""
    prepare()
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = learn_tokenizer(_collect_corpus())
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    )
    vision = _VISION | {"window_size": 56, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(
        text_config=_size_text_model(tokenizer),
        vision_config=vision,
        tie_word_embeddings=False,
        **find_token_ids(tokenizer),
    )
    return _build_seeded(Qwen2_5_VLForConditionalGeneration, config, tokenizer), tokenizer, processor


def _size_text_model(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": count_vocabulary(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "max_position_embeddings": 4_096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": MROPE},
        **find_text_ids(tokenizer),
    }


def _build_seeded(kind: Any, config: Any, tokenizer: Any) -> Any:
    """A model with weights drawn from a fixed seed, in float32; torch's own generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            factor = next((factor for part, factor in _LOUDER.items() if part in name), 4.0)
            if weight.dim() >= 2 and factor:
                weight.mul_(factor)
    set_ends(model, tokenizer)
    return model
