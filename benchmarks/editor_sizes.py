"""What teaching an editor takes on GPUs, by arithmetic: `python -m benchmarks.sizes` prints it.

As in `sizes`: weights are counted on the models at their real sizes, without memory, and nothing is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu_models import REAL
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorLora, EditorSftConfig
from mira_batch.config.load import load_own_config
from mira_batch.models.diffusion import Flow, find_flow
from mira_batch.models.torch_support import prepare

CONFIGS = Path(__file__).parent.parent / "configs/train"
PATCH = 16
"""Side of the pixels of one token, of both families."""
GB = 1e9
JUDGED = ((1, 33e9), (2, 8.8e9))
"""Questions about a sample, and the weights of whom they are asked: one of score_logit of a Qwen2.5-VL-32B,
two of VIEScore of a Qwen3-VL-8B, the sentinel."""
TEXT_TOKENS = 600
"""Assumed, of a question without its two images."""


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


def describe(rates: Mapping[str, float]) -> list[str]:
    """The tables, as lines of markdown.

    Args:
        rates: operations a second of a GPU: `training`, `editing` and `reading`.
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
    lines = [told + ".", "", *_show_memory(denoisers, area), "", "| hours on | 1 GPU | 4 | 8 |"]
    lines.append("|---|---|---|---|")
    for each in denoisers:
        seconds = 20_000 * each.learn(area) / rates["training"]
        lines.append(show_hours(f"editor-sft of {each.name}: 10,000 pairs, 2 epochs", seconds))
    for each, name in zip(denoisers, ("flux-kontext-nft.yaml", "qwen-image-edit-2509-nft.yaml"), strict=True):
        nft = load_own_config(EditorNftConfig, yaml.safe_load((CONFIGS / name).read_text()))
        parts = estimate_iteration(each, nft, rates)
        share = ", ".join(f"{part} {100 * took / sum(parts.values()):.0f} %" for part, took in parts.items())
        samples = f"{nft.records * nft.rollouts:,} samples of {nft.edit.sampler.steps} steps"
        lines.append(
            show_hours(f"an iteration of editor-nft of {each.name}, {samples} ({share})", sum(parts.values()))
        )
    return lines


def estimate_iteration(
    denoiser: Denoiser, config: EditorNftConfig, rates: Mapping[str, float]
) -> dict[str, float]:
    """Seconds of the phases of an iteration of editor-nft on one GPU. All samples are learned from: groups
    that are left out take less. Of a question only the reading counts.

    Args:
        denoiser: what learns.
        config: the training's.
        rates: as `describe` takes them.
    """
    samples, area = config.records * config.rollouts, config.editor.area
    tokens = 2 * (area // 28**2) + TEXT_TOKENS
    asked = sum(2.0 * times * weights * tokens for times, weights in JUDGED)
    # The sampling policy's velocity, and the base model's, where drift is weighed.
    passes = denoiser.learn(area) + (1 + (config.loss.drift_weight > 0)) * denoiser.predict(area)
    return {
        "samples": samples * config.edit.sampler.steps * denoiser.predict(area) / rates["editing"],
        "judging": samples * asked / rates["reading"],
        "update": samples * config.epochs * passes / rates["training"],
    }


def show_hours(name: str, seconds: float) -> str:
    """A row of a table: hours on one, four and eight GPUs.

    Args:
        name: what takes them.
        seconds: on one GPU.
    """
    return f"| {name} | " + " | ".join(f"{seconds / 3600 / gpus:.2g}" for gpus in (1, 4, 8)) + " |"


def _show_memory(denoisers: Sequence[Denoiser], area: int) -> list[str]:
    """Of editor-nft a worker has the sampling adapter and the moving average, too."""
    names = list(denoisers[0].estimate_memory(area, 1))
    lines = [f"| a worker that learns, GB | {' | '.join(names)} | sum |", "|---|" + "---|" * (len(names) + 1)]
    for each in denoisers:
        for kind, adapters in (("sft", 1), ("nft", 3)):
            for batch in (1, 4):
                parts = each.estimate_memory(area, batch, adapters)
                cells = " | ".join(f"{value:.1f}" for value in parts.values())
                title = f"editor-{kind} of {each.name}, `batch: {batch}`"
                lines.append(f"| {title} | {cells} | {sum(parts.values()):.0f} |")
    return lines
