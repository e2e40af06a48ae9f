"""Tiny diffusion pipelines of the real classes: real files, random weights, half a megabyte to one each.

They edit nothing sensible. What is real is the path through them: tokenizers, text encoders, VAEs with the
real scale of 8, transformers, schedulers, `model_index.json` and safetensors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mira_batch.models.tiny.parts import CHAT_TEMPLATE
from mira_batch.models.tiny.qwen import HIDDEN, build_tiny_qwen
from mira_batch.models.torch_support import prepare

PIPELINES = (
    "FluxKontextPipeline",
    "QwenImageEditPipeline",
    "QwenImageEditPlusPipeline",
    "Flux2KleinPipeline",
)

_LOUDER = 3.0
"""Factor of the transformers' matrices: at the usual initialisation the image moves the result by less than
one grey level, and crossed wires would go unnoticed."""
_HEADS: dict[str, Any] = {"attention_head_dim": 16, "num_attention_heads": 2}
"""Of the transformers."""
_WORDS = [
    "make",
    "turn",
    "the",
    "a",
    "image",
    "sky",
    "car",
    "dress",
    "dog",
    "red",
    "green",
    "blue",
    "warmer",
    "darker",
    "brighter",
    "add",
    "remove",
    "replace",
]


def write_pipelines(directory: Path) -> dict[str, Path]:
    """Write each pipeline as `save_pretrained` does. Returns their folders by the name of the class.

    The same files come out each time; torch's own generator is left as it was.
    """
    prepare()
    import torch

    makers: dict[str, Callable[[], Any]] = {
        "FluxKontextPipeline": _build_kontext,
        "QwenImageEditPipeline": lambda: _build_qwen("QwenImageEditPipeline"),
        "QwenImageEditPlusPipeline": lambda: _build_qwen("QwenImageEditPlusPipeline"),
        "Flux2KleinPipeline": _build_klein,
    }
    folders = {}
    for name in PIPELINES:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipeline = makers[name]()
        folders[name] = directory / name
        pipeline.save_pretrained(folders[name], safe_serialization=True)
    return folders


def _build_kontext() -> Any:
    diffusers = _import_diffusers()
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    clip, t5 = build_clip_tokenizer(), build_t5_tokenizer()
    vae = diffusers.AutoencoderKL(
        **_list_blocks("DownEncoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=8,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    text = CLIPTextConfig(
        vocab_size=len(clip),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=clip.bos_token_id,
        eos_token_id=clip.eos_token_id,
        pad_token_id=clip.pad_token_id,
    )
    text_2 = T5Config(
        vocab_size=len(t5), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, is_encoder_decoder=False
    )
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=32,
        num_layers=2,
        num_single_layers=2,
        **_HEADS,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    return diffusers.FluxKontextPipeline(
        scheduler=build_scheduler(),
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=clip,
        text_encoder_2=T5EncoderModel(text_2),
        tokenizer_2=t5,
        transformer=_make_louder(transformer),
    )


def _build_qwen(name: str) -> Any:
    diffusers = _import_diffusers()
    import torch
    from transformers import Qwen2VLProcessor

    encoder, tokenizer, parts = build_tiny_qwen()
    processor = Qwen2VLProcessor(
        image_processor=parts.image_processor,
        tokenizer=tokenizer,
        video_processor=parts.video_processor,
        chat_template=CHAT_TEMPLATE,
    )
    vae = diffusers.AutoencoderKLQwenImage(base_dim=2, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(4.0)  # left alone, all images are of nearly one gray
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=64,
        out_channels=16,
        num_layers=2,
        **_HEADS,
        joint_attention_dim=HIDDEN,
        axes_dims_rope=(4, 4, 8),
    )
    return getattr(diffusers, name)(
        scheduler=build_scheduler(),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        processor=processor,
        transformer=_make_louder(transformer),
    )


def _build_klein() -> Any:
    diffusers = _import_diffusers()
    from transformers import Qwen3Config, Qwen3ForCausalLM

    _, tokenizer, _ = build_tiny_qwen()
    tokenizer.chat_template = CHAT_TEMPLATE
    vae = diffusers.AutoencoderKLFlux2(
        **_list_blocks("DownEncoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=8,
        mid_block_add_attention=False,
    )
    # The pipeline reads the hidden states of layers 9, 18 and 27.
    text = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=27,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=1_024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=32,
        num_layers=1,
        num_single_layers=2,
        **_HEADS,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=build_scheduler(),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(text),
        tokenizer=tokenizer,
        transformer=_make_louder(transformer),
        is_distilled=True,
    )


def _import_diffusers() -> Any:
    """The package, whose classes are there only once they are asked for, which a type checker can't see."""
    import importlib

    return importlib.import_module("diffusers")


def _list_blocks(down: str, up: str) -> dict[str, Any]:
    """Four levels, so that a latent stands for 8 × 8 pixels as in the real models."""
    return {
        "down_block_types": (down,) * 4,
        "up_block_types": (up,) * 4,
        "block_out_channels": (8, 8, 8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }


def build_scheduler() -> Any:
    """FLUX.1's scheduler, with its own settings."""
    diffusers = _import_diffusers()

    return diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, shift=3.0
    )


def _make_louder(transformer: Any) -> Any:
    import torch

    with torch.no_grad():
        for weight in transformer.parameters():
            if weight.dim() >= 2:
                weight.mul_(_LOUDER)
    return transformer.eval()


def build_clip_tokenizer() -> Any:
    """CLIP's tokenizer over single bytes: each within and at the end of a word, `<|endoftext|>` last."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def build_t5_tokenizer() -> Any:
    """T5's tokenizer over printable ASCII and a few words."""
    from transformers import T5Tokenizer

    pieces = ["▁", *(f"▁{word}" for word in _WORDS), *map(chr, range(33, 127))]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(piece, -1.0 - index / 100) for index, piece in enumerate(pieces)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
