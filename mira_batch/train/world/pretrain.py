"""Pretraining of the world's model: what a real checkpoint brings along before it sees an edit.

The vision tower is aligned first: each image token is drawn to the embeddings of its object's two words, and
in other directions, half as strong, to those of its four neighbours, since a real tower's tokens tell of what
is around them, too. Then all but the tower learns to answer the questions of `examples.py`. No instruction
and no edit is part of it. Plain torch, on the CPU, in float32.

Shapes: C image tokens of a batch, one a cell; D width of the text model.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError
from mira_batch.train.world.captions import ASK, NOTHING, CaptionScore, score_captions
from mira_batch.train.world.encode import IGNORED, Encoder
from mira_batch.train.world.examples import ExampleBatches, count_most, draw_varied
from mira_batch.train.world.model import build_base, check_vacant, save_base
from mira_batch.train.world.scenes import SIDES, SMALL, Scene, World
from mira_batch.train.world.tasks import Split

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNED = 0.2
"""Share of the budget that goes to the vision tower alone."""
_BATCH = 16
"""Examples of a step. Small, since a core computes no more of them in a second in larger ones."""
_MOST_WORDS = 16
"""Of an object and its neighbours, in tokens."""
_VISION_RATE, _RATE = 2e-3, 1e-3
"""Learning rates."""
_NOTED = 100
"""Steps between lines of progress."""
_WARM_UP = 0.05
"""Share of a budget until a rate is reached."""
_AROUND = 0.5
"""Weight of a neighbour in an image token's target."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What a pretraining came to."""

    steps: int
    """Of both parts."""
    alignment: float
    """Mean squared error of the vision tower's targets at its end, over their variance."""
    loss: float
    """Of the last questions, in nats a token."""
    seconds: float
    captions: CaptionScore
    """Of held-out scenes."""


def pretrain_base(
    directory: Path,
    seed: int = 0,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    world: World = SMALL,
    note: Callable[[str], None] | None = None,
) -> Pretrained:
    """Build a model, pretrain it, and write it as `save_pretrained` does; what came of it.

    Of so many steps the same seed gives the same weights, on the same machine with one thread; in so many
    minutes a machine makes more or fewer steps.

    Args:
        directory: where it goes; it must be new or empty, and appears when it is whole.
        seed: of the weights and of what is drawn.
        steps: of the optimizer; or
        minutes: that it may take.
        world: what it is to see.
        note: told how it goes, for people.

    Raises:
        ConfigError: there is something in the directory, or not one of `steps` and `minutes` is given.
    """
    if (steps is None) == (minutes is None) or (steps or minutes or 0) <= 0:
        raise ConfigError("pretraining takes a number of steps or of minutes, one of them, above 0")
    check_vacant(directory)
    begun = time.monotonic()
    model, processor = build_base(seed, world)
    encoder = Encoder(processor)
    rng = random.Random(f"world-pretrain/1 {seed}")
    first = _Budget(steps and max(1, round(steps * _ALIGNED)), minutes and 60 * minutes * _ALIGNED)
    aligned, alignment = _align(model, encoder, rng, world, first)
    if note:
        note(f"{aligned:,} steps: the vision tower is aligned, with an error of {alignment:.4f}")
    left = minutes and 60 * minutes - (time.monotonic() - begun)
    rest = _Budget(steps and max(1, steps - aligned), left and max(left, 1.0))
    described, loss = _learn_questions(model, encoder, rng, world, rest, note)
    seconds = time.monotonic() - begun
    captions = measure_captions(model, encoder, world)
    unfinished = directory.with_name(f"{directory.name}.{os.getpid()}.unfinished")
    try:
        save_base(unfinished, model, processor)
        if directory.exists():
            directory.rmdir()
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Pretrained(aligned + described, alignment, loss, seconds, captions)


def measure_captions(
    model: Any, encoder: Encoder, world: World = SMALL, split: Split = "val", count: int = 64, seed: int = 0
) -> CaptionScore:
    """How right the model describes scenes that it has never seen.

    Args:
        model: the model.
        encoder: of its processor.
        world: what scenes are made of.
        split: from which part they are drawn.
        count: how many.
        seed: draws them.
    """
    import torch

    rng = random.Random(f"world-captions/1 {split} {seed}")
    scenes = [draw_varied(rng, world, split) for _ in range(count)]
    model.eval()
    with torch.inference_mode():
        batch = encoder.encode([(scene,) for scene in scenes], [ASK] * count, None)
        words = _MOST_WORDS * count_most(world)
        told = model.generate(**batch, max_new_tokens=words, do_sample=False)
    said = told[:, batch["input_ids"].shape[1] :]
    return score_captions(encoder.tokenizer.batch_decode(said, skip_special_tokens=True), scenes)


@dataclass(frozen=True, slots=True)
class _Budget:
    """What a part of the training may take, by one of the two."""

    steps: int | None
    seconds: float | None

    def spend(self) -> Iterator[float]:
        """For each step the share of the budget that is gone before it, in [0, 1); for one step at least."""
        begun, step = time.monotonic(), 0
        while True:
            gone = step / self.steps if self.steps else (time.monotonic() - begun) / (self.seconds or 1)
            if gone >= 1 and step:
                return
            yield min(gone, 1.0)
            step += 1


def _descend(
    budget: _Budget,
    weights: Sequence[Any],
    rate: float,
    find_loss: Callable[[float], Tensor],
    note: Callable[[str], None] | None = None,
) -> tuple[int, float]:
    """Make steps of AdamW until the budget is gone, at a rate that rises and falls as a cosine: how many, and
    the last loss."""
    import torch

    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    for gone in budget.spend():
        risen = min(1.0, (gone + 0.1 * _WARM_UP) / _WARM_UP)
        for group in optimizer.param_groups:
            group["lr"] = rate * risen * (0.505 + 0.495 * math.cos(math.pi * gone))
        loss = find_loss(gone)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if note and len(losses) % _NOTED == 0:
            note(f"{len(losses):,} steps, {gone:.0%} of the questions: loss {losses[-1]:.3f}")
    return len(losses), losses[-1]


def _align(
    model: Any, encoder: Encoder, rng: random.Random, world: World, budget: _Budget
) -> tuple[int, float]:
    """Draw each image token to its object's words: steps, and the last error over the targets' variance."""
    import torch

    targets = _Targets(model.get_input_embeddings().weight.detach(), encoder, world)

    def find_loss(gone: float) -> Tensor:
        scenes = [draw_varied(rng, world, "train") for _ in range(_BATCH)]
        images = encoder.encode_images(scenes)
        seen_C_D = model.model.visual(images["pixel_values"], grid_thw=images["image_grid_thw"]).pooler_output
        wanted_C_D = torch.cat([targets.find(scene) for scene in scenes])
        return (seen_C_D - wanted_C_D).square().mean() / wanted_C_D.var()

    model.train()
    return _descend(budget, [*model.model.visual.parameters()], _VISION_RATE, find_loss)


class _Targets:
    """What image tokens are drawn to."""

    def __init__(self, embeddings: Tensor, encoder: Encoder, world: World) -> None:
        import torch

        words = {
            thing: [encoder.tokenizer(f" {word}")["input_ids"] for word in (thing or (NOTHING, NOTHING))]
            for thing in (None, *world.things)
        }
        self._things = {
            thing: torch.stack([embeddings[ids].mean(0) for ids in both]).sum(0)
            for thing, both in words.items()
        }
        width = embeddings.shape[1]
        drawn = torch.randn(len(SIDES), width, width, generator=torch.Generator().manual_seed(0))
        self._turns = dict(zip(SIDES, torch.linalg.qr(drawn).Q, strict=True))
        """A rotation (D, D) for each side."""

    def find(self, scene: Scene) -> Tensor:
        """(C, D) of one scene."""
        import torch

        own = torch.stack([self._things[thing] for thing in scene.cells])
        for side, turn in self._turns.items():
            cells = [scene.find_beside(cell, side) for cell in range(len(scene.cells))]
            beside = [self._things[None if cell is None else scene.cells[cell]] for cell in cells]
            own = own + _AROUND * torch.stack(beside) @ turn
        return own


def _learn_questions(
    model: Any,
    encoder: Encoder,
    rng: random.Random,
    world: World,
    budget: _Budget,
    note: Callable[[str], None] | None,
) -> tuple[int, float]:
    """Learn to describe images, to compare two, and to find what is asked for: steps, and the last loss."""
    import torch

    batches = ExampleBatches(rng, world, _BATCH)

    def find_loss(gone: float) -> Tensor:
        some = batches.draw(gone)
        batch = encoder.encode(
            [one.shown for one in some], [one.asked for one in some], [one.answer for one in some]
        )
        labels = batch.pop("labels")[:, 1:]
        learned = labels != IGNORED
        states = model.model(**batch, use_cache=False).last_hidden_state[:, :-1][learned]
        return torch.nn.functional.cross_entropy(model.lm_head(states), labels[learned])

    model.train()
    model.model.visual.requires_grad_(False)
    try:
        return _descend(
            budget, [each for each in model.parameters() if each.requires_grad], _RATE, find_loss, note
        )
    finally:
        model.requires_grad_(True)
