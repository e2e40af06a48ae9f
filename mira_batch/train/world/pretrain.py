"""Pretraining of the world's model: what a real checkpoint brings along before it sees an edit.

The vision tower is aligned first: each image token is drawn to the embeddings of its object's two words, and
in other directions, half as strong, to those of its four neighbours, since a real tower's tokens tell of what
is around them, too. Then all but the tower learns to answer the questions of `examples.py`. No instruction
and no edit is part of it. Plain torch, on the CPU, in float32.

Shapes: C image tokens of a batch, one a cell; D width of the text model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError
from mira_batch.train.world.captions import ASK, NOTHING, CaptionScore, score_captions
from mira_batch.train.world.checkpoint import Checkpoint
from mira_batch.train.world.descent import Descent
from mira_batch.train.world.encode import IGNORED, Encoder
from mira_batch.train.world.examples import AT_ONCE, Example, ExampleBatches, count_most, draw_varied
from mira_batch.train.world.model import build_base, check_vacant, fill_directory, save_base
from mira_batch.train.world.scenes import SIDES, SMALL, Scene, World
from mira_batch.train.world.tasks import Split

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNED = 0.15
"""Share of the steps that go to the vision tower alone."""
_BATCH = 32
"""Examples of a step. A core computes hardly more of them in a second in larger ones, but Muon's own work,
a third of a step of 16, is the same for any number."""
_MOST_WORDS = 16
"""Of an object and its neighbours, in tokens."""
_VISION_RATE, _RATE, _MUON_RATE = 2e-3, 1e-3, 2.5e-3
"""Learning rates: of the vision tower, and of what answers questions, its matrices by Muon."""
_NOTED = 100
"""Steps between lines of progress."""
_KEPT = 10 * AT_ONCE
"""Steps between checkpoints. A multiple of the batches that are drawn at once: none is left over then."""
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
    captions: CaptionScore
    """Of held-out scenes."""


def pretrain_base(
    directory: Path,
    seed: int = 0,
    *,
    steps: int,
    world: World = SMALL,
    note: Callable[[str], None] | None = None,
) -> Pretrained:
    """Build a model, pretrain it, and write it as `save_pretrained` does; what came of it.

    The same seed gives the same weights, on the same machine with one thread. Where a process was killed, the
    next goes on from its last checkpoint, which lies beside the directory until the directory is there.

    Args:
        directory: where it goes; it must be new or empty, and appears when it is whole.
        seed: of the weights and of what is drawn.
        steps: of the optimizer, of both parts.
        world: what it is to see.
        note: told how it goes, for people.

    Raises:
        ConfigError: there is something in the directory, there are fewer than two steps, or the checkpoint
            beside it is of another pretraining.
    """
    if steps < 2:
        raise ConfigError(f"pretraining takes 2 steps at least, one of each part; not {steps}")
    check_vacant(directory)
    kept = Checkpoint(directory, {"seed": seed, "steps": steps, "cells": world.size})
    state = kept.read()
    model, processor = build_base(seed, world)
    encoder = Encoder(processor)
    learner = _Learner(model, encoder, world, random.Random(f"world-pretrain/1 {seed}"), note)
    first = max(1, round(steps * _ALIGNED))
    alignment = learner.align(first) if state is None else state["alignment"]
    loss = learner.learn_questions(
        steps - first, state, lambda state: kept.write(state | {"alignment": alignment})
    )
    captions = measure_captions(model, encoder, world)
    fill_directory(directory, lambda place: save_base(place, model, processor))
    kept.remove()
    return Pretrained(steps, alignment, loss, captions)


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
class _Learner:
    """A model, and what it learns from."""

    model: Any
    encoder: Encoder
    world: World
    rng: random.Random
    note: Callable[[str], None] | None

    def align(self, steps: int) -> float:
        """Draw each image token to its object's words: the last error over the targets' variance."""
        import torch

        tower = self.model.model.visual
        targets = _Targets(self.model.get_input_embeddings().weight.detach(), self.encoder, self.world)
        self.model.train()
        descent = Descent([*tower.parameters()], _VISION_RATE, steps)
        while descent.gone < 1:
            scenes = [draw_varied(self.rng, self.world, "train") for _ in range(_BATCH)]
            images = self.encoder.encode_images(scenes)
            seen_C_D = tower(images["pixel_values"], grid_thw=images["image_grid_thw"]).pooler_output
            wanted_C_D = torch.cat([targets.find(scene) for scene in scenes])
            descent.descend((seen_C_D - wanted_C_D).square().mean() / wanted_C_D.var())
        self._note(f"{steps:,} steps: the vision tower is aligned, with an error of {descent.loss:.4f}")
        return descent.loss

    def learn_questions(
        self, steps: int, state: dict[str, Any] | None, keep: Callable[[dict[str, Any]], None]
    ) -> float:
        """Learn to describe images, to compare two, and to find what is asked for: the last loss.

        Args:
            steps: how many.
            state: to go on from.
            keep: told the state now and then.
        """
        model = self.model
        batches = ExampleBatches(self.rng, self.world, _BATCH)
        model.train()
        model.model.visual.requires_grad_(False)
        learned = {name: each for name, each in model.named_parameters() if each.requires_grad}
        matrices = [each for name, each in learned.items() if each.dim() == 2 and "embed" not in name]
        descent = Descent([*learned.values()], _RATE, steps, matrices, _MUON_RATE)
        if state is not None:
            model.load_state_dict(state["model"])
            descent.load_state_dict(state["descent"])
            self.rng.setstate(state["rng"])
            self._note(f"{descent.step:,} steps of questions are made; on from there")
        while descent.gone < 1:
            descent.descend(self._ask(batches.draw(descent.gone)))
            if descent.step % _NOTED == 0:
                self._note(
                    f"{descent.step:,} steps, {descent.gone:.0%} of the questions: loss {descent.loss:.3f}"
                )
            if descent.step % _KEPT == 0:
                keep(
                    {"model": model.state_dict(), "descent": descent.state_dict(), "rng": self.rng.getstate()}
                )
        model.requires_grad_(True)
        return descent.loss

    def _ask(self, examples: Sequence[Example]) -> Tensor:
        """The loss of a batch, in nats a token."""
        import torch

        batch = self.encoder.encode(
            [one.shown for one in examples],
            [one.asked for one in examples],
            [one.answer for one in examples],
        )
        labels = batch.pop("labels")[:, 1:]
        learned = labels != IGNORED
        states = self.model.model(**batch, use_cache=False).last_hidden_state[:, :-1][learned]
        return torch.nn.functional.cross_entropy(self.model.lm_head(states), labels[learned])

    def _note(self, text: str) -> None:
        if self.note:
            self.note(text)


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
