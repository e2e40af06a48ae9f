"""FLUX.1 Kontext: a list of images is one per prompt."""

from __future__ import annotations

from typing import Any

from mira_batch.models.diffusion.pipelines.batch import Batch, Family, Settings, write_arguments


def edit(pipe: Any, batch: Batch, settings: Settings) -> Any:
    """Runs the pipeline at the batch's size.

    Left to itself it gives 1024² and stretches the input to one of its preferred shapes: it needs the size,
    the area and `_auto_resize` to do otherwise. It is the one pipeline here that doesn't tell a cache which
    pass it is in.
    """
    width, height = batch.size
    sized = {"max_area": height * width, "_auto_resize": False}
    with pipe.transformer.cache_context("cond"):
        return pipe(**write_arguments(batch, settings) | sized | settings.options)


KONTEXT = Family(
    batching="per_sample",
    call=edit,
    steps=28,
    guidance=3.5,
    caches=("taylorseer", "magcache", "first_block"),
)
