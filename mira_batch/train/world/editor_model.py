"""A FLUX.1 Kontext of the world's size: the real classes, small, and tokenizers to which each word of the
world's edits is one token.

The VAE has the real scale of 8, and a token of the transformer stands for two by two latents: a cell of a
scene is one token, as it is to the world's policy. Untrained it edits nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mira_batch.models.tiny import build_scheduler
from mira_batch.models.torch_support import prepare
from mira_batch.train.world.edits import Add, AtomicEdit, Recolour, Remove, say_edit
from mira_batch.train.world.model import check_vacant
from mira_batch.train.world.scenes import COLOURS, SHAPES, SIDES, Thing

WORDS = 16
"""Tokens of an edit at most, its end included: `max_sequence_length` of the pipeline's call."""
CHANNELS = 8
"""Of a latent."""
_WIDTHS = (8, 16, 16, 32)
"""Channels of the VAE by level, from the pixels to the latents."""
_HEADS, _HEAD = 3, 32
"""Attention heads of the transformer, and the width of one."""
_AXES = (8, 12, 12)
"""Dimensions of a head that tell the image (drawn or source), the row and the column."""
_DOUBLE, _SINGLE = 2, 2
"""Blocks in which text and image have weights of their own, and blocks in which they share them."""
_SHARP = 2.0
"""First scale of queries and keys: at 1 no token attends to one place much more than to its neighbours."""
_TEXT, _POOLED = 64, 32
"""Width of T5 and of CLIP."""


def write_editor(directory: Path, seed: int = 0) -> None:
    """Write an untrained pipeline as `save_pretrained` does.

    Args:
        directory: where; it must be new or empty.
        seed: of the weights. The same seed gives the same bytes.

    Raises:
        ConfigError: there is something in the directory.
    """
    check_vacant(directory)
    build_editor(seed).save_pretrained(directory, safe_serialization=True)


def build_editor(seed: int = 0) -> Any:
    """An untrained `FluxKontextPipeline`; torch's own generator is left as it was.

    Args:
        seed: of the weights.
    """
    prepare()
    import importlib

    import torch
    from transformers import CLIPTextModel, T5EncoderModel
    from transformers.utils import logging

    diffusers: Any = importlib.import_module("diffusers")
    for each in (logging, diffusers.utils.logging):
        each.disable_progress_bar()
    clip, t5 = _build_clip_tokenizer(), _build_t5_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = _build_vae(diffusers)
        transformer = diffusers.FluxTransformer2DModel(
            in_channels=4 * CHANNELS,
            num_layers=_DOUBLE,
            num_single_layers=_SINGLE,
            attention_head_dim=_HEAD,
            num_attention_heads=_HEADS,
            joint_attention_dim=_TEXT,
            pooled_projection_dim=_POOLED,
            axes_dims_rope=_AXES,
            guidance_embeds=False,
        )
        pipeline = diffusers.FluxKontextPipeline(
            scheduler=build_scheduler(),
            vae=vae,
            text_encoder=CLIPTextModel(_configure_clip(clip)),
            tokenizer=clip,
            text_encoder_2=T5EncoderModel(_configure_t5(t5)),
            tokenizer_2=t5,
            transformer=transformer,
        )
        _draw_weights(transformer, pipeline.text_encoder_2)
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2, transformer):
        part.float().eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def list_words() -> list[str]:
    """Each word of the world's edits, once."""
    some, other = Thing(COLOURS[0], SHAPES[0]), Thing(COLOURS[1], SHAPES[1])
    edits: list[AtomicEdit] = [Recolour(some, COLOURS[1]), Remove(some)]
    edits += [Add(some, side, other) for side in SIDES]
    said = " ".join([*map(say_edit, edits), *COLOURS, *SHAPES])
    return sorted(set(re.findall(r"\w+", said)))


def _build_vae(diffusers: Any) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(_WIDTHS),
        up_block_types=("UpDecoderBlock2D",) * len(_WIDTHS),
        block_out_channels=_WIDTHS,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=CHANNELS,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def _draw_weights(transformer: Any, t5: Any) -> None:
    """First weights by which something is learned at this size, in the place of the usual ones, which are for
    thousands of dimensions: branches begin open, attention finds a place by its row and column, and T5 tells
    words apart by where they stand."""
    from torch import nn

    for name, weight in transformer.named_parameters():
        if weight.dim() >= 2:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif ".norm_q." in name or ".norm_k." in name:
            nn.init.constant_(weight, _SHARP)
    for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
        for norm in (getattr(block, name, None) for name in ("norm", "norm1", "norm1_context")):
            if norm is not None:
                nn.init.zeros_(norm.linear.weight)
                parts = norm.linear.bias.detach().zero_().view(-1, _HEADS * _HEAD)
                parts[2::3] = 1.0  # shift, scale and gate, of attention and then of what follows it
    nn.init.zeros_(transformer.norm_out.linear.weight)
    nn.init.zeros_(transformer.norm_out.linear.bias)
    for block in t5.encoder.block:
        attention = block.layer[0].SelfAttention
        if attention.has_relative_attention_bias:
            nn.init.normal_(attention.relative_attention_bias.weight, std=_SHARP)


def _configure_clip(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_POOLED,
        intermediate_size=2 * _POOLED,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=WORDS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _configure_t5(tokenizer: Any) -> Any:
    from transformers import T5Config

    return T5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT,
        d_kv=_TEXT // 4,
        d_ff=2 * _TEXT,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        is_encoder_decoder=False,
    )


def _build_clip_tokenizer() -> Any:
    """CLIP's tokenizer over single bytes, and the merges that make a token of each word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[attr-defined]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1_000, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(list_words(), trainer)
    import json

    learned = json.loads(trained.to_str())["model"]
    pieces = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters), *learned["vocab"]])
    vocab = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    merges: Any = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=WORDS)


def _build_t5_tokenizer() -> Any:
    """T5's tokenizer over printable ASCII and the words."""
    from transformers import T5Tokenizer

    pieces = ["▁", *(f"▁{word}" for word in list_words()), *map(chr, range(33, 127))]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(piece, -1.0 - index / 100) for index, piece in enumerate(pieces)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
