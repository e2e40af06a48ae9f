"""The VAE of the world's Kontext: how it learns, and scenes as its latents.

Shapes: B images; H and W their sides in pixels, h and w in latents, an eighth of these; C channels of a
latent; L tokens of an image, two by two latents each, and D = 4 C their width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mira_batch.train.world.examples import draw_varied
from mira_batch.train.world.nearest import read_nearest
from mira_batch.train.world.scenes import CELL, SMALL, Scene, World, draw_tiles, render

if TYPE_CHECKING:
    from torch import Generator, Tensor

NOISE = 0.3
"""Standard deviation of what is added to latents, which have about 1, while the decoder learns: what a
transformer draws is as wrong."""
_BATCH, _SIDE = 8, 2
"""Images of a step, and their side in cells: smaller than scenes, since a VAE looks at what is near."""
_EMPTY = 0.3
"""Share of cells that are empty, beyond what chance gives."""
_ABSOLUTE, _SPREAD = 0.3, 0.01
"""Weights beside the mean squared error: of the mean absolute error, and of what keeps each channel of the
latents near mean 0 and deviation 1."""
_CALIBRATED = 64
"""Scenes by which latents are scaled."""


def draw_vae_loss(vae: Any, rng: random.Random, generator: Generator, world: World = SMALL) -> Tensor:
    """How wrong the VAE gives back a batch of tiles side by side.

    Args:
        vae: an `AutoencoderKL`.
        rng: draws the tiles.
        generator: draws the noise of latents.
        world: whose tiles they are.
    """
    import torch

    pixels_B_3_H_W = _to_pixels(np.stack([_draw_mosaic(rng, world) for _ in range(_BATCH)]))
    latents_B_C_h_w = vae.encode(pixels_B_3_H_W).latent_dist.mean
    noise = torch.randn(latents_B_C_h_w.shape, generator=generator)
    wrong = vae.decode(latents_B_C_h_w + NOISE * noise).sample - pixels_B_3_H_W
    mean = latents_B_C_h_w.mean((0, 2, 3))
    deviation = latents_B_C_h_w.std((0, 2, 3)).clamp_min(1e-4)
    spread = mean.square().mean() + deviation.log().square().mean()
    return wrong.square().mean() + _ABSOLUTE * wrong.abs().mean() + _SPREAD * spread


def calibrate(vae: Any, seed: int, world: World = SMALL) -> None:
    """Set the VAE's shift and scale so that latents of scenes have mean 0 and deviation 1.

    Args:
        vae: an `AutoencoderKL`.
        seed: draws the scenes, of the part train.
        world: what they are made of.
    """
    import torch

    rng = random.Random(f"world-editor-calibrate/1 {seed}")
    scenes = [draw_varied(rng, world, "train") for _ in range(_CALIBRATED)]
    with torch.inference_mode():
        latents = vae.encode(_stack_scenes(scenes)).latent_dist.mode()
    vae.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std()))


def encode_scenes(pipeline: Any, scenes: Sequence[Scene]) -> Tensor:
    """Scenes as the transformer's tokens (B, L, D), the same that the pipeline makes of their images.

    Args:
        pipeline: a `FluxKontextPipeline`.
        scenes: of one size.
    """
    import torch

    vae = pipeline.vae
    with torch.no_grad():
        latents = vae.encode(_stack_scenes(scenes)).latent_dist.mode()
        latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
        return pipeline._pack_latents(latents, *latents.shape)


def measure_vae(vae: Any, seed: int = 0, world: World = SMALL, count: int = 64) -> float:
    """Share of the cells of held-out scenes that the VAE gives back so that they can be read.

    Args:
        vae: an `AutoencoderKL`.
        seed: draws the scenes, of the part val.
        world: what they are made of.
        count: how many.
    """
    import torch
    from PIL import Image

    rng = random.Random(f"world-editor-vae/1 {seed}")
    scenes = [draw_varied(rng, world, "val") for _ in range(count)]
    with torch.inference_mode():
        drawn = vae.decode(vae.encode(_stack_scenes(scenes)).latent_dist.mode()).sample
    pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    right = [
        seen == wanted
        for image, scene in zip(pixels, scenes, strict=True)
        for seen, wanted in zip(read_nearest(Image.fromarray(image), world).cells, scene.cells, strict=True)
    ]
    return sum(right) / len(right)


def _draw_mosaic(rng: random.Random, world: World) -> np.ndarray:
    """(H, W, 3) bytes."""
    tiles = draw_tiles()
    things = (None, *world.things)
    drawn = [
        tiles[None if rng.random() < _EMPTY else things[rng.randrange(len(things))]]
        for _ in range(_SIDE * _SIDE)
    ]
    grid = np.stack(drawn).reshape(_SIDE, _SIDE, CELL, CELL, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(_SIDE * CELL, _SIDE * CELL, 3)


def _stack_scenes(scenes: Sequence[Scene]) -> Tensor:
    return _to_pixels(np.stack([np.asarray(render(scene)) for scene in scenes]))


def _to_pixels(images: np.ndarray) -> Tensor:
    """(B, 3, H, W) from -1 to 1 of (B, H, W, 3) bytes."""
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
