"""What all families share: the batch they get, how they are described, and how their output is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind

Batching = Literal["per_sample", "shared_refs", "none"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One call: as many images, prompts and generators as there are requests."""

    images: list[Image.Image]
    """RGB, all of one size."""
    prompts: list[str]
    generators: list[Any]
    """A `torch.Generator` on the CPU each, seeded by its request alone."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.images[0].size


@dataclass(frozen=True, slots=True)
class Settings:
    """How the pipeline is called in this run."""

    steps: int | None
    """Denoising steps; None leaves the class's default."""
    guidance: float | None
    negative_prompt: str
    options: dict[str, Any]
    """Further keyword arguments of the call."""


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of a class of pipelines."""

    batching: Batching
    """What the class itself makes of a list of images."""
    call: Callable[[Any, Batch, Settings], Any]
    """Runs (pipeline, batch, settings) and returns the pipeline's output."""
    prepare: Callable[[Any], None] | None = None
    """Puts a loaded pipeline right, once."""
    steps: int | None = None
    """What the authors use."""
    guidance: float | None = None
    multiple: int = 16
    """Both sides of the canvas are multiples of this many pixels."""
    min_side: int = 0
    masks: bool = False
    """Whether prompts of different length in a batch need an attention mask."""
    caches: tuple[str, ...] = ()
    """Of `speed.cache`, those that work with it."""
    offloads: tuple[str, ...] = ("model", "sequential")
    """Of `offload`, those that work with it."""
    reserved: frozenset[str] = frozenset()
    """Parameters of the call that `call` sets by the size of the canvas."""


def write_arguments(batch: Batch, settings: Settings) -> dict[str, Any]:
    """The arguments of a pipeline's call that all families of FLUX share."""
    width, height = batch.size
    return {
        "image": batch.images,
        "prompt": batch.prompts,
        "generator": batch.generators,
        "height": height,
        "width": width,
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
    }


def read_parameters(pipe: Any) -> tuple[frozenset[str], bool]:
    """The names of the parameters of a pipeline's call, and whether it takes any others."""
    parameters = inspect.signature(type(pipe).__call__).parameters.values()
    names = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return names - {"self"}, any(p.kind is p.VAR_KEYWORD for p in parameters)


def drop_unset(**arguments: Any) -> dict[str, Any]:
    """The arguments that are set."""
    return {name: value for name, value in arguments.items() if value is not None}


def collect_images(output: Any) -> list[Any]:
    """The images of a pipeline's output: the chosen ones where it tried several, one list where they are
    nested by prompt."""
    if isinstance(output, tuple):
        images = output[0]
    else:
        images = getattr(output, "final_images", None) or output.images
    if isinstance(images, Image.Image):
        return [images]
    flat: list[Any] = []
    for image in images:
        flat.extend(image if isinstance(image, list | tuple) else [image])
    return flat


def read_outcomes(output: Any, finite: Sequence[bool] | None, count: int) -> list[Any]:
    """One image or error for each of `count` requests.

    `finite` says of each row whether its pixels were numbers, as `watch` saw them. A class that runs several
    rounds for a request has more rows than images; then the last rows count.
    """
    images = collect_images(output)
    if len(images) != count:
        raise ValueError(f"the pipeline gave {len(images)} images for {count} prompts")
    rows = list(finite or [])[-count:]
    rows += [True] * (count - len(rows))
    flagged = list(getattr(output, "nsfw_content_detected", None) or [False] * count)
    return [_check_image(image, good, bad) for image, good, bad in zip(images, rows, flagged, strict=True)]


def _check_image(image: Any, finite: bool, flagged: bool) -> Any:
    if not finite:
        message = (
            "the image is not a number (NaN): the weights overflow in this dtype; take bfloat16 or float32"
        )
        return RecordError(ErrorKind.editor_failed, message)
    if flagged:
        return RecordError(ErrorKind.editor_failed, "the pipeline's safety checker blackened the image")
    return image


def watch(pipe: Any) -> list[bool]:
    """Note of each row that leaves the VAE whether its pixels are numbers, in the list that is returned.

    A NaN becomes a black pixel when the image is made of it, and then nobody can tell.
    """
    seen: list[bool] = []
    processor = getattr(pipe, "image_processor", None)
    if processor is None or not hasattr(processor, "postprocess"):
        return seen
    plain = processor.postprocess

    def postprocess(image: Any, *arguments: Any, **options: Any) -> Any:
        finite = image.isfinite().flatten(1).all(dim=1)
        seen.extend(finite.tolist())
        return plain(image.nan_to_num(), *arguments, **options)

    processor.postprocess = postprocess
    return seen
