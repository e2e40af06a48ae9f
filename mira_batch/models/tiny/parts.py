"""What every Qwen-VL that is built here has of the real ones: special tokens, chat template, a tokenizer that
splits text as Qwen's does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mira_batch.models.torch_support import prepare

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen's special tokens, in the order of their ids."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def learn_tokenizer(corpus: Sequence[str], most: int = 1_000) -> Any:
    """Qwen's tokenizer with a vocabulary of its own: all bytes, and merges that are learnt from texts.

    Args:
        corpus: the texts.
        most: words of the vocabulary at most, special tokens aside.
    """
    prepare()
    import json

    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[attr-defined]
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=most,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    learned = json.loads(trained.to_str())["model"]
    merges: Any = [tuple(pair) for pair in learned["merges"]]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL),
        padding_side="left",
        model_max_length=4_096,
    )


def count_vocabulary(tokenizer: Any) -> int:
    """Rows of an embedding. Rounded up as with the real models, whose last ids have no token either."""
    return -(-(len(tokenizer) + 1) // 64) * 64


def find_text_ids(tokenizer: Any) -> dict[str, Any]:
    """Ids of the tokens that begin, end and pad a text, as a config of a text model has them."""
    return {
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def find_token_ids(tokenizer: Any) -> dict[str, Any]:
    """Ids of the tokens that stand for images, as a config of a Qwen-VL has them."""
    return {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in [
            ("image", "<|image_pad|>"),
            ("video", "<|video_pad|>"),
            ("vision_start", "<|vision_start|>"),
            ("vision_end", "<|vision_end|>"),
        ]
    }


def set_ends(model: Any, tokenizer: Any) -> None:
    """Which tokens end an answer of the model, and which pads it."""
    settings = model.generation_config
    settings.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|endoftext|>")]
    settings.pad_token_id = tokenizer.pad_token_id
