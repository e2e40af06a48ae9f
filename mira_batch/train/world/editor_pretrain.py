"""Pretraining of the world's Kontext: what a real editor brings along before anybody makes it better.

The VAE learns to draw scenes from latents with some noise, since a transformer's are not exact either. Then
the transformer and both text encoders learn the world's atomic edits by flow matching. Plain torch, on the
CPU, in float32.

Shapes: B pairs of a batch, L tokens of an image (one a cell), D width of a token.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError
from mira_batch.train.world.checkpoint import Checkpoint
from mira_batch.train.world.descent import Descent
from mira_batch.train.world.editor_flow import FlowBatches
from mira_batch.train.world.editor_latents import calibrate, draw_vae_loss, measure_vae
from mira_batch.train.world.editor_model import build_editor
from mira_batch.train.world.editor_score import EditorScore, measure_editor
from mira_batch.train.world.model import check_vacant, fill_directory

if TYPE_CHECKING:
    from torch import Tensor

_VAE_RATE, _RATE = 4e-3, 1.5e-3
"""Learning rates."""
_NOTED = 100
"""Steps between lines of progress."""
_KEPT = 100
"""Steps between checkpoints."""
_LEARNERS = ("transformer", "text_encoder", "text_encoder_2")


@dataclass(frozen=True, slots=True)
class PretrainedEditor:
    """What a pretraining came to."""

    vae_steps: int
    """Of the VAE."""
    steps: int
    """Of the edits."""
    drawn: float
    """Share of the cells of held-out scenes that the VAE gives back so that they can be read."""
    loss: float
    """Of the last edits: mean squared error of the velocity."""
    score: EditorScore
    """Of held-out scenes, in four steps of denoising."""


def pretrain_editor(
    directory: Path,
    seed: int = 0,
    *,
    steps: int,
    vae_steps: int,
    note: Callable[[str], None] | None = None,
) -> PretrainedEditor:
    """Build a pipeline, pretrain it, and write it as `save_pretrained` does; what came of it.

    The same seed gives the same weights, on the same machine with one thread. Where a process was killed, the
    next goes on from its last checkpoint, which lies beside the directory until the directory is there.

    Args:
        directory: where it goes; it must be new or empty, and appears when it is whole.
        seed: of the weights and of what is drawn.
        steps: of the optimizer, for the edits.
        vae_steps: of the optimizer, for the VAE.
        note: told how it goes, for people.

    Raises:
        ConfigError: there is something in the directory, a part has no step, or the checkpoint beside it is
            of another pretraining.
    """
    if min(steps, vae_steps) < 1:
        raise ConfigError(
            f"pretraining takes 1 step at least of the VAE and of the edits; not {vae_steps} and {steps}"
        )
    check_vacant(directory)
    kept = Checkpoint(directory, {"editor": 1, "seed": seed, "steps": steps, "vae_steps": vae_steps})
    pipeline = build_editor(seed)
    learner = _Learner(pipeline, seed, kept, note or (lambda text: None))
    drawn, loss = learner.learn(vae_steps, steps)
    score = measure_editor(pipeline)
    fill_directory(directory, lambda place: pipeline.save_pretrained(place, safe_serialization=True))
    kept.remove()
    return PretrainedEditor(vae_steps, steps, drawn, loss, score)


class _Learner:
    """A pipeline that learns, in two parts, and the checkpoint that says how far it got."""

    def __init__(self, pipeline: Any, seed: int, kept: Checkpoint, note: Callable[[str], None]) -> None:
        import torch

        self._pipeline, self._seed, self._kept, self._note = pipeline, seed, kept, note
        self._rng = random.Random(f"world-editor/1 {seed}")
        self._generator = torch.Generator().manual_seed(seed)
        self._state = kept.read()

    def learn(self, vae_steps: int, steps: int) -> tuple[float, float]:
        """Both parts: the share of cells that the VAE gives back, and the last loss of the edits.

        Args:
            vae_steps: of the VAE.
            steps: of the edits.
        """
        vae = self._pipeline.vae
        if self._state is None or self._state["part"] == "vae":
            self._descend("vae", [vae], _VAE_RATE, vae_steps, self._find_vae_loss)
        else:
            vae.load_state_dict(self._state["vae"])
        vae.requires_grad_(False)
        calibrate(vae, self._seed)
        drawn = measure_vae(vae)
        self._note(f"{vae_steps:,} steps: of {drawn:.1%} of the cells the VAE gives back what they show")
        learners = [getattr(self._pipeline, name) for name in _LEARNERS]
        batches = FlowBatches(self._pipeline, self._rng, self._generator)
        loss = self._descend("edits", learners, _RATE, steps, lambda: batches.find_loss(batches.draw()))
        vae.requires_grad_(True)
        return drawn, loss

    def _find_vae_loss(self) -> Tensor:
        return draw_vae_loss(self._pipeline.vae, self._rng, self._generator)

    def _descend(
        self, part: str, learners: list[Any], rate: float, steps: int, find_loss: Callable[[], Tensor]
    ) -> float:
        """Make the steps of a part, or those that are left of it: the last loss."""
        descent = Descent([weight for each in learners for weight in each.parameters()], rate, steps)
        state = self._state
        if state is not None and state["part"] == part:
            for each, weights in zip(learners, state["learners"], strict=True):
                each.load_state_dict(weights)
            descent.load_state_dict(state["descent"])
            self._rng.setstate(state["rng"])
            self._generator.set_state(state["generator"])
            self._note(f"{part}: {descent.step:,} steps are made; on from there")
        while descent.gone < 1:
            descent.descend(find_loss())
            if descent.step % _NOTED == 0:
                self._note(f"{part}: {descent.step:,} steps, {descent.gone:.0%}: loss {descent.loss:.4f}")
            if descent.step % _KEPT == 0:
                self._kept.write(
                    {
                        "part": part,
                        "vae": self._pipeline.vae.state_dict(),
                        "learners": [each.state_dict() for each in learners],
                        "descent": descent.state_dict(),
                        "rng": self._rng.getstate(),
                        "generator": self._generator.get_state(),
                    }
                )
        return descent.loss
