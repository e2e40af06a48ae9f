"""Qwen-Image-Edit and its Plus versions (2509, 2511): a denoising loop of our own.

The pipelines' own calls don't serve here. Plus takes one request a call, since a list of images is the
references of one prompt. Both encode the image at 1 megapixel whatever size is asked for: below that the
image and the result lie on grids of different step, details wander from one edit to the next, and most of
the time goes into an enlargement. So the image is encoded at the size of the canvas, each prompt by itself,
and the batch is denoised in one loop; at the same size it gives what the pipeline gives.

The parts that compute are the pipeline's: prompts, latents, transformer, scheduler, VAE.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.pipelines.batch import Batch, Family, Settings

_ROUND = 32
"""What the authors round the sides of the image that the text encoder sees to."""
SEEN_AREA, PLUS_SEEN_AREA = 1024 * 1024, 384 * 384
"""Pixels of that image, of Qwen-Image-Edit and of Plus."""


def edit(
    pipe: Any, batch: Batch, settings: Settings, seen_area: int, reference: tuple[int, int] | None = None
) -> Any:
    """Edit a batch. `seen_area` is how large, in pixels, the text encoder sees the images; `reference` the
    size they are encoded at by the VAE, the batch's own if None.

    Returns the pipeline's kind of output: `images`, a PIL image for each row.
    """
    import numpy as np
    from diffusers.pipelines.qwenimage.pipeline_output import QwenImagePipelineOutput

    assert settings.steps and settings.guidance is not None, "the family has both"
    width, height = batch.size
    device, kind = pipe._execution_device, pipe.transformer.dtype
    seen = [
        pipe.image_processor.resize(image, *choose_seen_size(image.size, seen_area)) for image in batch.images
    ]
    contexts = {"cond": encode_prompts(pipe, batch.prompts, seen)}
    if settings.guidance > 1:
        contexts["uncond"] = encode_prompts(pipe, [settings.negative_prompt] * len(seen), seen)

    ref_width, ref_height = reference or batch.size
    pixels = pipe.image_processor.preprocess(batch.images, ref_height, ref_width).unsqueeze(2)
    latents_B_N_C, image_B_M_C = pipe.prepare_latents(
        pixels,
        len(seen),
        pipe.transformer.config.in_channels // 4,
        height,
        width,
        kind,
        device,
        batch.generators,
    )
    patch = pipe.vae_scale_factor * 2
    grids = [(1, height // patch, width // patch), (1, ref_height // patch, ref_width // patch)]
    sigmas = np.linspace(1.0, 1 / settings.steps, settings.steps)
    pipe.scheduler.set_timesteps(
        sigmas=sigmas, device=device, mu=_compute_shift(pipe, latents_B_N_C.shape[1])
    )
    pipe.scheduler.set_begin_index(0)
    for time in pipe.scheduler.timesteps:
        predicted = {
            name: _predict(pipe, name, latents_B_N_C, image_B_M_C, time, grids, context, settings)
            for name, context in contexts.items()
        }
        noise = _combine_guidance(predicted, settings.guidance)
        latents_B_N_C = pipe.scheduler.step(noise, time, latents_B_N_C, return_dict=False)[0]
    images = _decode(pipe, latents_B_N_C, height, width)
    pipe.maybe_free_model_hooks()
    return QwenImagePipelineOutput(images=images)


def restore_rope(pipe: Any) -> None:
    """Tell the text encoder which tokens are of the image (huggingface/diffusers#14194).

    transformers 5 gives image tokens their place in the picture only if it is told so, and the pipelines
    don't: they would be read as a line of text.
    """
    token = pipe.text_encoder.config.image_token_id

    def told(
        _: Any, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if options.get("pixel_values") is not None and options.get("mm_token_type_ids") is None:
            options["mm_token_type_ids"] = (options["input_ids"] == token).int()
        return arguments, options

    pipe.text_encoder.register_forward_pre_hook(told, with_kwargs=True)


def choose_seen_size(size: tuple[int, int], area: int) -> tuple[int, int]:
    """(height, width) at which the text encoder sees an image, by the authors' formula."""
    ratio = size[0] / size[1]
    width = math.sqrt(area * ratio)
    return round(width / ratio / _ROUND) * _ROUND, round(width / _ROUND) * _ROUND


def encode_prompts(pipe: Any, prompts: list[str], images: list[Any]) -> tuple[Any, Any]:
    """(embeddings (B, L, D), mask (B, L) or None) of prompts, each encoded with its image as if alone.

    Shorter ones are filled up with zeros, which the mask hides.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    rows = [
        pipe.encode_prompt(prompt=[prompt], image=[image])[0][0]
        for prompt, image in zip(prompts, images, strict=True)
    ]
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows], True)
    return pad_sequence(rows, batch_first=True), None if mask.all() else mask


def _predict(
    pipe: Any,
    name: str,
    latents: Any,
    image: Any,
    time: Any,
    grids: list[tuple[int, int, int]],
    context: tuple[Any, Any],
    settings: Settings,
) -> Any:
    """The noise (B, N, C) that the transformer sees in the latents under one context."""
    import torch

    embeddings, mask = context
    with pipe.transformer.cache_context(name):
        noise = pipe.transformer(
            hidden_states=torch.cat([latents, image], dim=1),
            timestep=time.expand(len(latents)).to(latents.dtype) / 1000,
            encoder_hidden_states_mask=mask,
            encoder_hidden_states=embeddings,
            img_shapes=[grids] * len(latents),
            return_dict=False,
            **settings.options,
        )[0]
    return noise[:, : latents.shape[1]]


def _combine_guidance(predicted: dict[str, Any], guidance: float) -> Any:
    """Classifier-free guidance, at the length that the prediction has without it."""
    noise = predicted["cond"]
    if "uncond" not in predicted:
        return noise
    combined = predicted["uncond"] + guidance * (noise - predicted["uncond"])
    return combined * (noise.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True))


def _compute_shift(pipe: Any, length: int) -> float:
    """How far the scheduler's noise levels are shifted for `length` tokens of image."""
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_shift

    named = {
        "base_image_seq_len": ("base_seq_len", 256),
        "max_image_seq_len": ("max_seq_len", 4096),
        "base_shift": ("base_shift", 0.5),
        "max_shift": ("max_shift", 1.15),
    }
    config = pipe.scheduler.config
    return calculate_shift(length, **{ours: config.get(name, usual) for name, (ours, usual) in named.items()})


def _decode(pipe: Any, latents: Any, height: int, width: int) -> list[Any]:
    """PIL images from packed latents (B, N, C)."""
    import torch

    vae = pipe.vae
    unpacked = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor).to(vae.dtype)
    mean, deviation = (
        torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(unpacked)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    frames = vae.decode(unpacked * deviation + mean, return_dict=False)[0]
    return pipe.image_processor.postprocess(frames[:, :, 0], output_type="pil")


def check_options(options: dict[str, Any]) -> None:
    """Refuse what the pipelines' own calls would take: our loop knows the transformer's only.

    Raises:
        ConfigError: an option is none of them.
    """
    if unknown := sorted(options.keys() - {"attention_kwargs"}):
        raise ConfigError(
            f"editor.options: {', '.join(unknown)}: Qwen-Image-Edit takes attention_kwargs only"
        )


QWEN_EDIT = Family(
    batching="per_sample",
    call=partial(edit, seen_area=SEEN_AREA),
    prepare=restore_rope,
    steps=50,
    guidance=4.0,
    multiple=32,
    masks=True,
    caches=("taylorseer", "first_block"),
)
QWEN_EDIT_PLUS = replace(QWEN_EDIT, call=partial(edit, seen_area=PLUS_SEEN_AREA), steps=40)
