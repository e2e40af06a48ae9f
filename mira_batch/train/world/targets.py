"""What the image tokens of a scene are drawn to while the vision tower is aligned.

Shapes: C cells of a scene, V words of the vocabulary, D width of the text model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mira_batch.train.world.captions import NOTHING
from mira_batch.train.world.encode import Encoder
from mira_batch.train.world.scenes import SIDES, Scene, World

if TYPE_CHECKING:
    from torch import Tensor

_AROUND = 0.5
"""Weight of a neighbour in an image token's target."""


class Targets:
    """What image tokens are drawn to."""

    def __init__(self, embeddings: Tensor, encoder: Encoder, world: World) -> None:
        """
        Args:
            embeddings: (V, D) of the vocabulary's words.
            encoder: of the processor.
            world: whose things there are.
        """
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
