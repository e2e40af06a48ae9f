"""FLUX.2: a list of images is the references of every prompt, so each row is given its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mira_batch.models.diffusion.pipelines.batch import Batch, Family, Settings, write_arguments


def edit(pipe: Any, batch: Batch, settings: Settings) -> Any:
    """Runs the pipeline at the batch's size. `give_each_row_its_reference` must have been called on it."""
    return pipe(**write_arguments(batch, settings) | settings.options)


def give_each_row_its_reference(pipe: Any) -> None:
    """Make the i-th image the reference of the i-th prompt alone; left alone, all rows see all images."""
    import torch

    shared = pipe.prepare_image_latents

    def per_row(
        images: list[Any], batch_size: int, generator: Any, device: Any, dtype: Any
    ) -> tuple[Any, Any]:
        """(latents (B, L, C), ids (B, L, 4)) of B images (1, 3, H, W), each encoded as if it were alone."""
        if len(images) != batch_size:
            raise ValueError(f"{len(images)} images for {batch_size} prompts")
        rows = [shared([image], 1, None, device, dtype) for image in images]
        return torch.cat([latents for latents, _ in rows]), torch.cat([ids for _, ids in rows])

    pipe.prepare_image_latents = per_row


_CACHES = ("taylorseer",)
"""FirstBlockCache of diffusers 0.42 fails in these blocks: it subtracts a list from a tensor."""

FLUX2 = Family(
    batching="shared_refs",
    call=edit,
    prepare=give_each_row_its_reference,
    steps=50,
    guidance=4.0,
    min_side=64,
    caches=_CACHES,
)
KLEIN = replace(FLUX2, steps=4, guidance=1.0)
