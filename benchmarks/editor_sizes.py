"""What teaching an editor takes on GPUs, by arithmetic: `python -m benchmarks.sizes` prints it.

As in `sizes`: weights are counted on the models at their real sizes, without memory, and nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu_models import REAL
from mira_batch.config.editor_sft import EditorLora, EditorSftConfig
from mira_batch.config.load import load_own_config
from mira_batch.models.diffusion import Flow, find_flow
from mira_batch.models.torch_support import prepare

CONFIGS = Path(__file__).parent.parent / "configs/train"
PATCH = 16
"""Side of the pixels of one token, of both families."""
GB = 1e9


@dataclass(frozen=True, slots=True)
class Denoiser:
    """A transformer that predicts a velocity: tokens of the image that is made, of the one that is edited,
    and of text, side by side through all blocks."""

    name: str
    weights: int
    lora: int
    """Weights of the adapter that a config names."""
    width: int
    blocks: int
    """Of a block's two streams, where it has two, a token goes through one."""
    text: int
    """Tokens of an instruction."""

    def count_tokens(self, area: int) -> int:
        """Tokens of one edit at so many pixels."""
        return 2 * (area // PATCH**2) + self.text

    def count_operations(self, area: int) -> tuple[float, float]:
        """Of a forward pass for one image: of the products with weights (a block has 12 width^2 of them: 4 of
        attention, 8 of the feed-forward layers), and of attention."""
        tokens = self.count_tokens(area)
        return 24.0 * self.width**2 * self.blocks * tokens, 4.0 * self.blocks * self.width * tokens**2

    def predict(self, area: int) -> float:
        """Operations of a forward pass."""
        return sum(self.count_operations(area))

    def learn(self, area: int) -> float:
        """Operations of learning from one image: forward, again for checkpointing, and back through weights
        that don't learn (once) and attention's two products (twice)."""
        products, attention = self.count_operations(area)
        return 3 * products + 4 * attention

    def estimate_memory(self, area: int, batch: int, adapters: int = 1) -> dict[str, float]:
        """GB of a worker that learns: weights in bfloat16, an adapter in float32 with its gradient and
        AdamW's two means, and further ones without; the inputs of all blocks, and one block made anew."""
        tokens = batch * self.count_tokens(area)
        return {
            "weights": 2 * self.weights / GB,
            "adapter": (12 + 4 * adapters) * self.lora / GB,
            "kept inputs": 2 * tokens * self.width * self.blocks / GB,
            # 14 widths: of attention 6, of the feed-forward layer 8; as many gradients
            "one block": 2 * 2 * tokens * 14 * self.width / GB,
        }


def build_kontext(tuning: EditorLora) -> Denoiser:
    """FLUX.1-Kontext's, with an adapter."""
    prepare()
    import torch
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        model = FluxTransformer2DModel(**REAL.transformer)
    return _count("FLUX.1-Kontext", model, tuning, find_flow("FluxKontextPipeline", {}), 512)


def build_qwen_edit(tuning: EditorLora) -> Denoiser:
    """Qwen-Image-Edit's (2509 has the same), with an adapter. diffusers' defaults are its sizes. Of an
    instruction's tokens 196 are the image as its encoder sees it, 384 x 384 pixels."""
    prepare()
    import torch
    from diffusers import QwenImageTransformer2DModel

    with torch.device("meta"):
        model = QwenImageTransformer2DModel()
    return _count("Qwen-Image-Edit", model, tuning, find_flow("QwenImageEditPlusPipeline", {}), 196 + 60)


def _count(name: str, model: Any, tuning: EditorLora, flow: Flow, text: int) -> Denoiser:
    config = model.config
    blocks = config.num_layers + getattr(config, "num_single_layers", 0)
    targets = tuning.targets or flow.targets
    adapted = [
        module
        for path, module in model.named_modules()
        if "blocks." in path and path.endswith(tuple(f".{target}" for target in targets))
    ]
    return Denoiser(
        name,
        weights=sum(weight.numel() for weight in model.parameters()),
        lora=sum(tuning.r * (module.in_features + module.out_features) for module in adapted),
        width=config.num_attention_heads * config.attention_head_dim,
        blocks=blocks,
        text=text,
    )


def describe(rate: float) -> list[str]:
    """The tables, as lines of markdown.

    Args:
        rate: operations a second of a GPU that learns.
    """
    config = load_own_config(EditorSftConfig, yaml.safe_load((CONFIGS / "flux-kontext-sft.yaml").read_text()))
    assert isinstance(config.tuning, EditorLora)
    area = config.editor.area
    denoisers = [build_kontext(config.tuning), build_qwen_edit(config.tuning)]
    told = "; ".join(
        f"{each.name}: {each.weights / GB:.1f} G weights, an adapter of rank {config.tuning.r} "
        f"{each.lora / 1e6:.0f} M, {each.count_tokens(area):,} tokens at {area:,} pixels"
        for each in denoisers
    )
    return [told + ".", "", *_show_memory(denoisers, area), "", *_show_hours(denoisers, area, rate)]


def _show_memory(denoisers: Sequence[Denoiser], area: int) -> list[str]:
    names = list(denoisers[0].estimate_memory(area, 1))
    lines = [f"| a worker that learns, GB | {' | '.join(names)} | sum |", "|---|" + "---|" * (len(names) + 1)]
    for each in denoisers:
        for batch in (1, 4):
            parts = each.estimate_memory(area, batch)
            cells = " | ".join(f"{value:.1f}" for value in parts.values())
            lines.append(f"| {each.name}, `batch: {batch}` | {cells} | {sum(parts.values()):.0f} |")
    return lines


def _show_hours(denoisers: Sequence[Denoiser], area: int, rate: float) -> list[str]:
    lines = ["| hours on | 1 GPU | 4 | 8 |", "|---|---|---|---|"]
    for each in denoisers:
        hours = 20_000 * each.learn(area) / rate / 3600
        cells = " | ".join(f"{hours / gpus:.2g}" for gpus in (1, 4, 8))
        lines.append(f"| editor-sft of {each.name}: 10,000 pairs, 2 epochs | {cells} |")
    return lines
