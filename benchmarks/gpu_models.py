"""Random weights at the real sizes, written as `save_pretrained` writes them and loaded as a user's are.

A matrix product takes as long with random numbers as with trained ones, so speed and memory are those of the
real models. The dimensions are those of the published configs. `SMALL` rehearses the same code on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.models.tiny import diffusion, qwen
from mira_batch.models.torch_support.setup import prepare


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured, and on what."""

    text: dict[str, Any]
    """Of the policy's language model …"""
    vision: dict[str, Any]
    """… and its vision tower."""
    transformer: dict[str, Any]
    """Of the editor's denoiser."""
    t5: dict[str, Any]
    clip: dict[str, Any]
    vae: dict[str, Any]
    sides: tuple[int, ...]
    """Sides of the square images, in pixels."""
    batches: tuple[int, ...]
    steps: int
    """Denoising steps of an edit."""
    tokens: int
    """Tokens of a policy's answer."""
    matrix: int
    """Side of the square matrices by which the device's rate is measured."""


REAL = Sizes(
    # Qwen2.5-VL-7B-Instruct
    text={
        "vocab_size": 152_064,
        "hidden_size": 3_584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128_000,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [16, 24, 24],
        },
    },
    vision={
        "depth": 32,
        "hidden_size": 1_280,
        "intermediate_size": 3_420,
        "num_heads": 16,
        "out_hidden_size": 3_584,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    # FLUX.1-Kontext-dev
    transformer={
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4_096,
        "pooled_projection_dim": 768,
        "guidance_embeds": True,
        "axes_dims_rope": (16, 56, 56),
    },
    t5={"d_model": 4_096, "d_kv": 64, "d_ff": 10_240, "num_layers": 24, "num_heads": 64},
    clip={
        "hidden_size": 768,
        "intermediate_size": 3_072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 16},
    sides=(512, 1_024),
    batches=(1, 2, 4, 8),
    steps=28,
    tokens=128,
    matrix=8_192,
)
SMALL = Sizes(
    text={
        "vocab_size": 2_048,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8_192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
    },
    vision={
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    transformer={
        "in_channels": 64,
        "num_layers": 1,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 4, 8),
    },
    t5={"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
    clip={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    vae={"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "latent_channels": 16},
    sides=(64,),
    batches=(1, 2),
    steps=3,
    tokens=16,
    matrix=256,
)


def write_policy(directory: Path, sizes: Sizes, device: str) -> None:
    """A Qwen2.5-VL of these sizes in bfloat16, with a tiny tokenizer."""
    prepare()
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    _, tokenizer, processor = qwen.build_tiny_qwen()
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1_280}
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image": "<|image_pad|>",
            "video": "<|video_pad|>",
            "vision_start": "<|vision_start|>",
            "vision_end": "<|vision_end|>",
        }.items()
    }
    config = Qwen2_5_VLConfig(
        text_config=sizes.text | _ends(tokenizer),
        vision_config=sizes.vision,
        tie_word_embeddings=False,
        **ids,
    )
    with _in_bfloat16(device):
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def write_editor(directory: Path, sizes: Sizes, device: str) -> None:
    """A FLUX.1-Kontext pipeline of these sizes in bfloat16, with tiny tokenizers."""
    prepare()
    from diffusers import AutoencoderKL, FluxKontextPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    clip, t5 = diffusion.build_clip_tokenizer(), diffusion.build_t5_tokenizer()
    text = CLIPTextConfig(vocab_size=len(clip), **_ends(clip), **sizes.clip)
    with _in_bfloat16(device):
        pipe = FluxKontextPipeline(
            scheduler=diffusion.build_scheduler(),
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
                up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
                scaling_factor=0.3611,
                shift_factor=0.1159,
                norm_num_groups=min(32, sizes.vae["block_out_channels"][0]),
                use_quant_conv=False,
                use_post_quant_conv=False,
                **sizes.vae,
            ),
            text_encoder=CLIPTextModel(text),
            tokenizer=clip,
            text_encoder_2=T5EncoderModel(T5Config(vocab_size=len(t5), is_encoder_decoder=False, **sizes.t5)),
            tokenizer_2=t5,
            transformer=FluxTransformer2DModel(**sizes.transformer),
        )
    pipe.save_pretrained(directory, safe_serialization=True)


def _ends(tokenizer: Any) -> dict[str, Any]:
    """Ids of special tokens: the configs' own lie outside a tiny vocabulary."""
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


@contextmanager
def _in_bfloat16(device: str) -> Iterator[None]:
    """Make weights where and as they are wanted: 12 billion numbers drawn on the CPU would take minutes."""
    import torch

    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(usual)
