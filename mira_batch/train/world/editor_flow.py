"""The world's edits as batches for flow matching, and the loss of a batch.

Shapes: B pairs; L tokens of an image, D their width; S tokens of a text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mira_batch.train.world.editor_latents import encode_scenes
from mira_batch.train.world.editor_model import WORDS
from mira_batch.train.world.editor_pairs import Pair, draw_edit
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.examples import draw_varied
from mira_batch.train.world.scenes import SMALL, World
from mira_batch.train.world.tasks import find_split

if TYPE_CHECKING:
    from torch import Generator, Tensor

_BATCH, _EDITS = 32, 4
"""Pairs of a batch, and edits that are drawn for a source: encoding is dear, and a source is encoded once."""
_NOISY = 3.0
"""Times are drawn as 3 u / (1 + 2 u) of uniform u: near noise there is the edit to be found, near the image
only what is seen already."""


@dataclass(slots=True)
class FlowBatches:
    """Draws batches of pairs, and finds the loss of them."""

    pipeline: Any
    rng: random.Random
    generator: Generator
    world: World = SMALL
    _known: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    """Tokens of each text, by CLIP's and by T5's tokenizer."""

    def draw(self) -> list[Pair]:
        """A batch. Neither a source nor what comes of it is of a held-out part."""
        pairs: list[Pair] = []
        while len(pairs) < _BATCH:
            source = draw_varied(self.rng, self.world, "train")
            drawn = [draw_edit(self.rng, source, self.world) for _ in range(_EDITS)]
            pairs += [pair for pair in drawn if find_split(*map(str, pair.target.cells)) == "train"]
        return pairs[:_BATCH]

    def find_loss(self, pairs: Sequence[Pair]) -> Tensor:
        """The mean squared error of the velocity, at times and noise that are drawn.

        With x_t = (1 - t) x_0 + t e the velocity is e - x_0 (Liu et al., Flow Straight and Fast, 2022,
        equation 1, with time the other way round).

        Args:
            pairs: a batch, as `draw` gives it.
        """
        import torch

        sources = list(dict.fromkeys(pair.source for pair in pairs))
        tokens = encode_scenes(self.pipeline, [*sources, *(pair.target for pair in pairs)])
        rows = [sources.index(pair.source) for pair in pairs]
        source_B_L_D, target_B_L_D = tokens[rows], tokens[len(sources) :]
        uniform = torch.rand(len(pairs), generator=self.generator)
        time_B = _NOISY * uniform / (1 + (_NOISY - 1) * uniform)
        noise_B_L_D = torch.randn(target_B_L_D.shape, generator=self.generator)
        noisy_B_L_D = torch.lerp(target_B_L_D, noise_B_L_D, time_B[:, None, None])
        velocity_B_L_D = self._find_velocity(noisy_B_L_D, time_B, source_B_L_D, pairs)
        return (velocity_B_L_D - (noise_B_L_D - target_B_L_D)).square().mean()

    def _find_velocity(
        self, noisy_B_L_D: Tensor, time_B: Tensor, source_B_L_D: Tensor, pairs: Sequence[Pair]
    ) -> Tensor:
        """What the transformer says, called as the pipeline calls it."""
        import torch

        pipeline, size = self.pipeline, self.world.size
        clip_B_S, t5_B_S = self._tokenize([say_edit(pair.edit) for pair in pairs])
        ids = pipeline._prepare_latent_image_ids(1, size, size, "cpu", torch.float32)
        source_ids = ids.clone()
        source_ids[:, 0] = 1
        return pipeline.transformer(
            hidden_states=torch.cat([noisy_B_L_D, source_B_L_D], dim=1),
            timestep=time_B,
            pooled_projections=pipeline.text_encoder(clip_B_S).pooler_output,
            encoder_hidden_states=pipeline.text_encoder_2(t5_B_S)[0],
            txt_ids=torch.zeros(WORDS, 3),
            img_ids=torch.cat([ids, source_ids]),
            return_dict=False,
        )[0][:, : noisy_B_L_D.shape[1]]

    def _tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, S) of CLIP and of T5."""
        import torch

        whole: dict[str, Any] = {"padding": "max_length", "max_length": WORDS}
        for text in texts:
            if text not in self._known:
                clip, t5 = self.pipeline.tokenizer, self.pipeline.tokenizer_2
                self._known[text] = clip(text, **whole)["input_ids"], t5(text, **whole)["input_ids"]
        known = [self._known[text] for text in texts]
        return torch.tensor([clip for clip, _ in known]), torch.tensor([t5 for _, t5 in known])
