"""`python -m benchmarks.sizes`: what the shipped trainings take on GPUs, by arithmetic.

Nothing is measured here. Weights are counted on the models themselves, built at their real sizes without
memory (torch's meta device); arithmetic is counted by 2 operations a weight and token, and 4 a value and pair
of tokens for attention. What a GPU reaches of its peak is an assumption that is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import editor_sizes
from benchmarks.editor_sizes import show_hours
from benchmarks.gpu_models import REAL
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.train import LoraTuning, SftConfig
from mira_batch.models.torch_support.setup import prepare

CONFIGS = Path(__file__).parent.parent / "configs/train"
PEAK = 989e12
"""Operations a second of an H100 or H200 in bfloat16, by its data sheet."""
REACHED = {"training": 0.35, "editing": 0.45, "reading": 0.35}
"""Assumed share of it."""
TEXT_TOKENS, ANSWER_TOKENS = 600, 100
"""Assumed, of a question without its images, and of an answer."""
EDITS = 3.0
"""Assumed edits of a trajectory; it has an answer more, the STOP."""
JUDGINGS = 5
"""Questions about a result: one of score_logit, two of EditScore, two of the sentinel's VIEScore."""
GB = 1e9


@dataclass(frozen=True, slots=True)
class Counts:
    """Weights of the models, and the shapes that arithmetic needs."""

    language: int
    """Of the language model without its table of embeddings, which is looked up, and not multiplied."""
    embeddings: int
    vision: int
    lora: int
    """Of the adapter."""
    denoiser: int
    encoders: int
    """Of the editor's text encoders and its autoencoder."""

    @property
    def policy(self) -> int:
        """All of the Qwen."""
        return self.language + self.embeddings + self.vision


def count_weights(tuning: LoraTuning) -> Counts:
    """Count the weights of Qwen2.5-VL-7B, of an adapter of it, and of FLUX.1-Kontext."""
    prepare()
    import torch
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        T5Config,
        T5EncoderModel,
    )

    def count(module: Any) -> int:
        return sum(weight.numel() for weight in module.parameters())

    with torch.device("meta"):
        config = Qwen2_5_VLConfig(text_config=REAL.text, vision_config=REAL.vision, tie_word_embeddings=False)
        policy = Qwen2_5_VLForConditionalGeneration(config)
        denoiser = FluxTransformer2DModel(**REAL.transformer)
        vae = AutoencoderKL(
            **REAL.vae,
            down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        )
        encoders = (
            T5EncoderModel(T5Config(**REAL.t5, feed_forward_proj="gated-gelu")),
            CLIPTextModel(CLIPTextConfig(**REAL.clip)),
            vae,
        )
    vision = policy.model.visual
    embeddings = count(policy.get_input_embeddings())
    return Counts(
        language=count(policy) - count(vision) - embeddings,
        embeddings=embeddings,
        vision=count(vision),
        lora=sum(
            tuning.r * (module.in_features + module.out_features)
            for name, module in policy.model.language_model.named_modules()
            if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in tuning.targets
        ),
        denoiser=count(denoiser),
        encoders=sum(count(each) for each in encoders),
    )


def count_question(pixels: int) -> int:
    """Tokens of a question of two images of so many pixels: a token is 28 x 28 pixels."""
    return 2 * (pixels // 28**2) + TEXT_TOKENS


def attend(tokens: int, width: int, layers: int) -> float:
    """Operations of a forward pass's attention, each token over all."""
    return 4.0 * layers * width * tokens**2


def read(counts: Counts, tokens: int, pixels: int) -> float:
    """Operations of a forward pass of the Qwen over a question (and its answer) of so many tokens. Attention
    of the vision tower is in windows, and left out."""
    seen = 2 * 4 * (pixels // 28**2)  # patches of two images, four to a token
    text = REAL.text
    causal = attend(tokens, text["hidden_size"], text["num_hidden_layers"]) / 2
    return 2.0 * counts.language * tokens + causal + 2.0 * counts.vision * seen


def learn(counts: Counts, tokens: int, pixels: int) -> float:
    """Operations of a step's part for one answer: forward, again for checkpointing, and back to the adapter;
    the tower, which doesn't learn, forward alone."""
    text = REAL.text
    causal = attend(tokens, text["hidden_size"], text["num_hidden_layers"]) / 2
    language = 2.0 * counts.language * tokens
    # Backward through the weights once (they don't learn), through attention's two products twice.
    vision = read(counts, tokens, pixels) - language - causal
    return 3 * language + 4 * causal + vision


def edit(steps: int, area: int) -> float:
    """Operations of one edit of so many pixels by Kontext: a token is 16 x 16 pixels; the image that is made
    and the one that is edited stand side by side, with 512 tokens of text."""
    tokens, shape = 2 * (area // 16**2) + 512, REAL.transformer
    width = shape["attention_head_dim"] * shape["num_attention_heads"]
    layers = shape["num_layers"] + shape["num_single_layers"]
    through = 12 * width**2 * layers  # of a double block's two streams a token goes through one
    return steps * (2.0 * through * tokens + attend(tokens, width, layers))


def estimate_memory(counts: Counts, tokens: int, batch: int) -> dict[str, float]:
    """GB of a worker that learns: weights in bfloat16, the adapter in float32 with gradients and AdamW's two
    means, the inputs of all layers, and one layer made anew."""
    text = REAL.text
    hidden, wide = text["hidden_size"], text["intermediate_size"]
    return {
        "weights": 2 * counts.policy / GB,
        "adapter": 16 * counts.lora / GB,
        "kept inputs": 2 * batch * tokens * hidden * text["num_hidden_layers"] / GB,
        "one layer": 2 * batch * tokens * (3 * wide + 10 * hidden) * 2 / GB,
        "logits": 10 * batch * ANSWER_TOKENS * text["vocab_size"] / GB,
    }


def estimate_sharded(counts: Counts, tokens: int, batch: int, workers: int) -> dict[str, float]:
    """GB of one of several workers that learn all weights but the tower's, shared out (FSDP2).

    Shared out are the weights, four bytes each, and of those that learn gradient and AdamW's two means,
    twelve more. Gathered are, in bfloat16, head and table of embeddings for the whole of a pass, and layers
    two at a time, one of them ahead; then the gradients of head, table and one layer, and these in float32.
    """
    text = REAL.text
    parts = estimate_memory(counts, tokens, batch)
    del parts["weights"], parts["adapter"]
    learned = counts.policy - counts.vision
    layer = (counts.language - counts.embeddings) // text["num_hidden_layers"]
    outer = 2 * counts.embeddings
    shares = {
        "weights, gradients, means": (16 * learned + 4 * counts.vision) / workers / GB,
        "gathered": (8 * outer + 10 * layer) / GB,
    }
    return shares | parts


def describe() -> str:
    """The tables, as markdown."""
    sft = load_own_config(SftConfig, yaml.safe_load((CONFIGS / "qwen2.5-vl-7b-sft.yaml").read_text()))
    grpo = load_own_config(GrpoConfig, yaml.safe_load((CONFIGS / "qwen2.5-vl-7b-grpo.yaml").read_text()))
    assert isinstance(sft.tuning, LoraTuning)
    counts = count_weights(sft.tuning)
    pixels = sft.prompt.max_pixels
    tokens = count_question(pixels) + ANSWER_TOKENS
    lines = [
        f"Qwen2.5-VL-7B: {counts.policy / GB:.2f} G weights, of them {counts.vision / GB:.2f} G of the "
        f"tower; an adapter of rank {sft.tuning.r}: {counts.lora / 1e6:.0f} M; FLUX.1-Kontext: "
        f"{counts.denoiser / GB:.1f} G and {counts.encoders / GB:.1f} G of encoders. A question of two "
        f"images of {pixels:,} pixels, with its answer: {tokens:,} tokens.",
        "",
        "| a worker that learns, GB | " + " | ".join(estimate_memory(counts, tokens, 1)) + " | sum |",
        "|---|" + "---|" * 6,
    ]
    for batch in (1, 4, 8):
        parts = estimate_memory(counts, tokens, batch)
        cells = " | ".join(f"{value:.1f}" for value in parts.values())
        lines.append(f"| `batch: {batch}` | {cells} | {sum(parts.values()):.0f} |")
    lines += _show_sharded(counts, tokens)
    sample = learn(counts, tokens, pixels) / (PEAK * REACHED["training"])
    lines += ["", "| hours on | 1 GPU | 4 | 8 |", "|---|---|---|---|"]
    lines.append(show_hours("policy-sft: 100,000 samples, 2 epochs", 200_000 * sample))
    states = grpo.states or grpo.records
    proposals = states * grpo.rollouts
    asked = grpo.records * (EDITS + 1) + proposals
    edits = asked * EDITS / (EDITS + 1)  # the others are STOP
    once = read(counts, tokens, pixels) / (PEAK * REACHED["reading"])
    editor: Any = grpo.edit.editor
    for name, steps, area in (
        ("1024 x 1024, 28 steps", editor.steps, 1024**2),
        ("512 x 512, 14 steps", 14, 512**2),
    ):
        made = edits * edit(steps, area) / (PEAK * REACHED["editing"])
        parts = {
            "edits": made,
            "questions": (asked + JUDGINGS * proposals) * once,
            "update": proposals * sample,
        }
        told = ", ".join(f"{part} {100 * each / sum(parts.values()):.0f} %" for part, each in parts.items())
        lines.append(show_hours(f"an iteration of policy-grpo, {name} ({told})", sum(parts.values())))
    assumed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in REACHED.items())
    lines += [
        "",
        f"Assumed: {PEAK / 1e12:,.0f} Tflop/s (H100, bfloat16), of which {assumed}; {TEXT_TOKENS} tokens of "
        f"text in a question, {ANSWER_TOKENS} in an answer; {EDITS:g} edits a trajectory. Left out are the "
        "loading of weights and the words of answers: of questions only the reading counts.",
    ]
    return "\n".join(lines)


def _show_sharded(counts: Counts, tokens: int) -> list[str]:
    rows = {workers: estimate_sharded(counts, tokens, 1, workers) for workers in (2, 4, 8)}
    lines = [
        "",
        f"| all weights, `strategy: fsdp2`, `batch: 1`, GB | {' | '.join(rows[2])} | sum |",
        "|---|" + "---|" * (len(rows[2]) + 1),
    ]
    for workers, parts in rows.items():
        cells = " | ".join(f"{value:.1f}" for value in parts.values())
        lines.append(f"| {workers} workers | {cells} | {sum(parts.values()):.0f} |")
    return lines


def describe_editors() -> str:
    """The tables of teaching an editor, as markdown."""
    rates = {name: PEAK * share for name, share in REACHED.items()}
    assumed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in REACHED.items())
    lines = editor_sizes.describe(rates)
    return "\n".join(
        [*lines, "", f"Assumed: {PEAK / 1e12:,.0f} Tflop/s (H100, bfloat16), of which {assumed}."]
    )


if __name__ == "__main__":
    print(describe())
    print()
    print(describe_editors())
