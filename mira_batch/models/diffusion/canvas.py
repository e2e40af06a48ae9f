"""The size a trajectory is edited at, and the way there and back.

An editing model works at sizes of its own, an image has its own. The canvas is chosen once, from the
original's size, and held for the whole trajectory, so that nothing is resampled between the steps; only the
result is brought back. Transparency can't be edited: it is laid over white, kept apart and put back.
"""

from __future__ import annotations

import math
from itertools import product

from PIL import Image

from mira_batch.core.pixels import has_alpha
from mira_batch.models.serving import lay_on_white

MAX_RATIO = 4.0
"""Longer side over shorter: beyond it the models fail, and Flux.2 refuses at 8. A more extreme image is
squeezed into this ratio, and its result stretched again."""

_NEAR = 0.1
"""Up to a tenth more or less in area, resampling would cost more than the size gains."""


def choose_canvas(size: tuple[int, int], area: int, multiple: int, min_side: int = 0) -> tuple[int, int]:
    """The canvas (width, height) in pixels for an image of `size`.

    About `area` pixels, both sides multiples of `multiple`, none below `min_side`; of those the one whose
    shape is nearest to the image's, within `MAX_RATIO`. A size that is nearly so already is kept.
    """
    kept = size[0] % multiple == size[1] % multiple == 0 and min(size) >= min_side
    if kept and max(size) <= MAX_RATIO * min(size) and abs(math.log(size[0] * size[1] / area)) < _NEAR:
        return size
    ratio = min(max(size[0] / size[1], 1 / MAX_RATIO), MAX_RATIO)
    width = math.sqrt(area * ratio)
    least = max(1, math.ceil(min_side / multiple))

    def near(side: float) -> list[int]:
        below = int(side // multiple)
        return sorted({max(least, count) * multiple for count in (below, below + 1)})

    def cost(canvas: tuple[int, int]) -> float:
        # A wrong shape shows, a somewhat larger or smaller canvas doesn't.
        return 4 * abs(math.log(canvas[0] / canvas[1] / ratio)) + abs(math.log(canvas[0] * canvas[1] / area))

    return min(product(near(width), near(width / ratio)), key=cost)


def fit(image: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    """The image in RGB and at the size of the canvas. What is transparent is laid over white."""
    image = lay_on_white(image)
    return image if image.size == canvas else image.resize(canvas, Image.Resampling.LANCZOS)


def restore(image: Image.Image, original: Image.Image) -> Image.Image:
    """An edited image at the original's size and with the original's transparency.

    An image with transparency of its own was never on a canvas and comes back as it is.
    """
    if has_alpha(image):
        return image
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != original.size:
        image = image.resize(original.size, Image.Resampling.LANCZOS)
    if not has_alpha(original):
        return image
    return _take_white_out(image, original.convert("RGBA").getchannel("A"))


def _take_white_out(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """Take the white out of half-transparent pixels again; otherwise their edges would be whitened twice."""
    import numpy as np

    opacity = np.asarray(alpha, dtype=np.float32)[..., None] / 255
    seen = np.asarray(image, dtype=np.float32)
    colour = np.where(opacity > 0, (seen - 255 * (1 - opacity)) / np.maximum(opacity, 1 / 255), seen)
    result = Image.fromarray(colour.clip(0, 255).round().astype(np.uint8), "RGB")
    result.putalpha(alpha)
    return result
