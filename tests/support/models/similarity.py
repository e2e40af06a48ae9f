"""Tiny CLIP and DINO weights of the real classes, for measures of likeness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch.models.torch_support import prepare

SIDE = 32
"""Pixels of the square that they see."""


def write_clip(directory: Path, longest: int = 24) -> Path:
    """A CLIPModel with its tokenizer, which reads so many tokens."""
    prepare()
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": longest,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    layers: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    layers |= {"num_attention_heads": 2}
    vision = layers | {"image_size": SIDE, "patch_size": 8}
    config = CLIPConfig(text_config=layers | text, vision_config=vision, projection_dim=8)
    _make(CLIPModel, config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def write_dino(directory: Path) -> Path:
    """A ViTModel as DINO's are kept: without a pooling layer."""
    prepare()
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=8,
    )
    _make(ViTModel, config, add_pooling_layer=False).save_pretrained(directory)
    return directory


def _make(kind: Any, config: Any, **more: Any) -> Any:
    """Weights drawn from a fixed seed, larger than usual: else all images would look alike."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config, **more).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.mul_(8)
    return model
