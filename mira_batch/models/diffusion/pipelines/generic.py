"""Any pipeline with an image, a prompt and a generator: it is given whatever of the rest its call takes."""

from __future__ import annotations

from typing import Any

from mira_batch.models.diffusion.pipelines.batch import Batch, Family, Settings, drop_unset, read_parameters


def edit(pipe: Any, batch: Batch, settings: Settings) -> Any:
    """Runs the pipeline on one request or, where the config says that it takes lists, on several.

    A guidance scale is the true CFG scale where there is one. A model's own second look at its result is
    switched off: whether a result is good is for the policy and the judge to say.
    """
    names, _ = read_parameters(pipe)
    width, height = batch.size
    single = len(batch.images) == 1
    scale = "true_cfg_scale" if "true_cfg_scale" in names else "guidance_scale"
    wanted = {
        "image": batch.images[0] if single else batch.images,
        "prompt": batch.prompts[0] if single else batch.prompts,
        "generator": batch.generators[0] if single else batch.generators,
    }
    optional = drop_unset(height=height, width=width, num_inference_steps=settings.steps)
    if settings.guidance is not None:
        optional[scale] = settings.guidance
    if settings.negative_prompt.strip():
        negative = settings.negative_prompt
        optional["negative_prompt"] = negative if single else [negative] * len(batch.images)
    optional |= {"enable_thinking_mode": False, "enable_reflection_mode": False}
    known = {name: value for name, value in optional.items() if name in names}
    return pipe(**wanted | known | settings.options)


GENERIC = Family(batching="none", call=edit)
PIX2PIX = Family(batching="per_sample", call=edit, steps=100, guidance=7.5, multiple=8)
PIX2PIX_XL = Family(batching="per_sample", call=edit, steps=100, guidance=5.0, multiple=8)
