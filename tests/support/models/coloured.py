"""A tiny FluxKontextPipeline whose VAE was taught colours: what it decodes it encodes again, about, so that
an editor can learn from images of its own. The VAE of other tiny pipelines is random."""

from __future__ import annotations

import shutil
from pathlib import Path

from mira_batch.models.torch_support import prepare

STEPS = 120


def write_coloured(source: Path, target: Path) -> None:
    """Copy a pipeline, and teach its VAE; the same files each time.

    Args:
        source: of a tiny FluxKontextPipeline.
        target: where to.
    """
    prepare()
    import torch
    from diffusers import AutoencoderKL

    shutil.copytree(source, target)
    vae = AutoencoderKL.from_pretrained(source / "vae")
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(vae.parameters(), lr=5e-3)
    for _ in range(STEPS):
        blocks = torch.rand((8, 3, 4, 4), generator=generator) * 2 - 1
        pixels = torch.nn.functional.interpolate(blocks, scale_factor=8, mode="bilinear")
        latents = vae.encode(pixels).latent_dist.mean
        spread = latents.mean().square() + latents.std().log().square()
        noise = 0.2 * torch.randn(latents.shape, generator=generator)
        loss = (vae.decode(latents + noise).sample - pixels).square().mean() + 0.1 * spread
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vae.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    vae.save_pretrained(target / "vae")
