"""A pipeline that is called as Step1X-Edit v1p2 is in its authors' fork of diffusers, and is Kontext inside.

The fork isn't published as a package and its weights are 50 GB. What an editor has to get right is the call:
its parameters and defaults, one request a call, a size that follows from the image's shape and `size_level`
whatever width and height say, a second look that is on by default, and two lists of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from mira_batch.models.torch_support.setup import prepare

prepare()

from diffusers import FluxKontextPipeline  # noqa: E402


@dataclass
class Step1XEditPipelineOutput:
    images: list[Image.Image]
    """One for each try."""
    final_images: list[Image.Image]
    """The best of them."""
    reformat_prompt: str = ""
    think_info: list[str] = field(default_factory=list)
    best_info: list[Any] = field(default_factory=list)


def generated_size(size: tuple[int, int], size_level: int) -> tuple[int, int]:
    """The (width, height) at which the fork's `encode_image` edits an image of `size`."""
    ratio = size[0] / size[1]
    if size[0] > size[1]:
        width = math.ceil(math.sqrt(size_level * size_level * ratio))
        height = math.ceil(width / ratio)
    else:
        height = math.ceil(math.sqrt(size_level * size_level / ratio))
        width = math.ceil(height * ratio)
    return width // 16 * 16, height // 16 * 16


class Step1XEditPipelineV1P2(FluxKontextPipeline):
    def __call__(
        self,
        image: Image.Image | None = None,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        true_cfg_scale: float = 6.0,
        height: int | None = None,
        width: int | None = None,
        size_level: int = 1024,
        num_inference_steps: int = 28,
        sigmas: list[float] | None = None,
        guidance_scale: float = 6.0,
        num_images_per_prompt: int = 1,
        generator: Any = None,
        latents: Any = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        joint_attention_kwargs: dict[str, Any] | None = None,
        timesteps_truncate: float = 0.93,
        process_norm_power: float = 0.4,
        enable_thinking_mode: bool = False,
        enable_reflection_mode: bool = True,
        max_try_cnt: int = 3,
    ) -> Step1XEditPipelineOutput:
        if not isinstance(prompt, str) or not isinstance(image, Image.Image):
            raise ValueError("one image and one prompt a call")
        tries = max_try_cnt if enable_reflection_mode else 1
        width, height = generated_size(image.size, size_level)
        images = [
            super(Step1XEditPipelineV1P2, self)
            .__call__(
                image=image.resize((width, height)),
                prompt=prompt,
                negative_prompt=negative_prompt or "",
                true_cfg_scale=true_cfg_scale,
                height=height,
                width=width,
                max_area=height * width,
                _auto_resize=False,
                num_inference_steps=num_inference_steps,
                generator=generator,
            )
            .images[0]
            .resize(image.size)
            for _ in range(tries)
        ]
        notes = ["<#Retry>"] * (tries - 1) + ["<#Success>"] if enable_reflection_mode else []
        return Step1XEditPipelineOutput(images, [images[-1]], think_info=notes)


class Lists(FluxKontextPipeline):
    """A class nobody has heard of, which takes an image or a list of them, one for each prompt."""

    def __call__(self, image: Any, prompt: Any, generator: Any, height: int, width: int) -> Any:
        return super().__call__(
            image=image,
            prompt=prompt,
            generator=generator,
            height=height,
            width=width,
            max_area=height * width,
            _auto_resize=False,
            num_inference_steps=2,
        )


class Nested(Lists):
    """Gives its images in a list for each prompt, as some forks do."""

    def __call__(self, image: Any, prompt: Any, generator: Any, height: int, width: int) -> Any:
        output = super().__call__(image, prompt, generator, height, width)
        output.images = [output.images]
        return output


class Prudish(Lists):
    """Blackens one kind of image and says so, as Stable Diffusion's pipelines do."""

    def __call__(self, image: Any, prompt: Any, generator: Any, height: int, width: int) -> Any:
        output = super().__call__(image, prompt, generator, height, width)
        output.nsfw_content_detected = ["number 0" in prompt]
        return output


class Painter(FluxKontextPipeline):
    """Paints from a prompt alone."""

    def __call__(self, prompt: Any, generator: Any) -> Any:
        raise NotImplementedError
