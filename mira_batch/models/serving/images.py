"""Images on their way into a model and out of it. Pillow is imported when the first one comes.

Models are given read-only views (docs/adr/0013), so that one that draws on its input, or goes on drawing on
what it has returned, changes a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mira_batch.core.pixels import has_alpha, read_only_view
from mira_batch.core.types import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

_FRAMES = ("original", "current", "image", "candidate")
"""Fields of requests that hold images."""


def guard_images(call: Callable[[Sequence[Any]], Sequence[Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    """The call of a model that may draw on the images it is given and on those it returns."""
    return lambda requests: [keep_answer(answer) for answer in call([view_request(r) for r in requests])]


def view_request(request: Any) -> Any:
    """The request with read-only views of its images."""
    frames = {
        name: Frame(read_only_view(frame.pixels), frame.digest)
        for name in _FRAMES
        if (frame := getattr(request, name, None)) is not None
    }
    return replace(request, **frames)


def keep_answer(answer: Any) -> Any:
    """An answer that stays as it is, whatever the model does to its image from now on."""
    from PIL.Image import Image

    if not isinstance(answer, Image):
        return answer
    answer.load()
    answer.readonly = 1
    return read_only_view(answer) if answer.mode in ("RGB", "RGBA") else answer.copy()


def to_rgb_or_rgba(image: Image) -> Image:
    """The image in RGB, or in RGBA where it has alpha; the same object where it is so already."""
    if image.mode in ("RGB", "RGBA"):
        return image
    return image.convert("RGBA" if has_alpha(image) else "RGB")


def lay_on_white(image: Image) -> Image:
    """An image in RGB, as a person sees it: what is transparent shows white, whatever colour lies below."""
    if not has_alpha(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    from PIL import Image as images

    layer = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", layer.size, "white"), layer).convert("RGB")
