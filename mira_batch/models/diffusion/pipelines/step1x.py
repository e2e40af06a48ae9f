"""Step1X-Edit v1p2, by its authors' fork of diffusers (github.com/Peyton-Chen/diffusers, step1xedit_v1p2).

Given an image, its call passes over width and height: `encode_image` takes the image's shape at an area of
`size_level`², rounds the sides down to multiples of 16, and the result is brought back to the image's size.
So a canvas is asked for by its level. One request a call; parts of its text encoder run without the whole.
"""

from __future__ import annotations

import math
from typing import Any

from mira_batch.models.diffusion.pipelines.batch import Batch, Family, Settings


def edit(pipe: Any, batch: Batch, settings: Settings) -> Any:
    """Runs the pipeline on one request, at the batch's size.

    Its own second look at a result is switched off: that is for the policy and the judge.
    """
    (image,), (prompt,), (generator,) = batch.images, batch.prompts, batch.generators
    arguments: dict[str, Any] = {
        "image": image,
        "prompt": prompt,
        "negative_prompt": settings.negative_prompt.strip(),
        "generator": generator,
        "size_level": compute_size_level(batch.size),
        "num_inference_steps": settings.steps,
        "true_cfg_scale": settings.guidance,
        "enable_thinking_mode": False,
        "enable_reflection_mode": False,
    }
    return pipe(**arguments | settings.options)


def compute_size_level(size: tuple[int, int]) -> int:
    """The level at which an image of `size` (width, height), both multiples of 16, keeps its size.

    Rounded up, so that no side falls below its multiple.
    """
    return math.isqrt(size[0] * size[1] - 1) + 1


STEP1X = Family(
    batching="none",
    call=edit,
    steps=50,
    guidance=6.0,
    offloads=("sequential",),
    reserved=frozenset({"size_level"}),
)
