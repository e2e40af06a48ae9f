"""What an edit changed beyond what was asked: cheap facts of a result against its source.

Owns which facts there are and how they are rounded; `align.py`, `prevailing.py`, `detail.py` and `colour.py`
measure. All works at a bounded resolution, so that a fact costs the same of any image but for one pass that
scales it down. How far each is off is in docs/fidelity.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np
from PIL import Image

from mira_batch.imaging.align import find_shift, lay_over
from mira_batch.imaging.detail import (
    Box,
    Bytes,
    compare_noise,
    compare_sharpness,
    measure_alpha_loss,
    place_tiles,
)
from mira_batch.imaging.prevailing import CELL, Flags, compare_cells

LONG_SIDE = 256
"""Most pixels of the longer side of what is compared."""
SAME_ASPECT = 0.01
"""How far two aspects may differ, relatively, for places of one image to be those of the other."""
_STILL = 0.1
"""Pixels, of what is compared, up to which nothing has to be moved back."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Facts of a result against its source. One that can't be had is None."""

    shift_x: float | None = None
    """How far what was not edited has moved to the right, in pixels of the source."""
    shift_y: float | None = None
    """The same downwards."""
    delta_e: float | None = None
    """Mean CIEDE2000 between the colours of what was not edited, before and after."""
    delta_e_p95: float | None = None
    """Its 95th percentile."""
    changed_share: float | None = None
    """Share of the picture that was edited, 0 to 1."""
    sharpness_ratio: float | None = None
    """Variance of the Laplacian of the result, over that of the source: 1 is as sharp as it was."""
    noise_added: float | None = None
    """Standard deviation of the noise that came in, in 8-bit levels; below 0: that was taken away."""
    alpha_loss: float | None = None
    """Mean difference of alpha along the source's edges of it, 0 to 1."""
    size_ratio: float | None = None
    """Pixels of the result over those of the source."""
    aspect_change: float | None = None
    """Width by height of the result, over that of the source: 1 is the same form."""

    @property
    def shift(self) -> float | None:
        """How far what was not edited has moved in any direction, in pixels of the source."""
        if self.shift_x is None or self.shift_y is None:
            return None
        return round(math.hypot(self.shift_x, self.shift_y), 2)

    def dump(self) -> dict[str, float | None]:
        """The facts by name, `shift` among them."""
        return {"shift": self.shift} | asdict(self)


def measure_fidelity(source: Image.Image, result: Image.Image) -> Fidelity:
    """Measure what has changed between two images.

    Args:
        source, result: RGB or RGBA, 8 bits a channel. What is transparent counts as white.

    Returns:
        Places and colours where the aspect is the same within 1 %; sharpness, noise and alpha where the size
        is the very same; size and aspect always. Sharpness and noise are those of what was not edited.
    """
    aspect = (result.width * source.height) / (result.height * source.width)
    size = (result.width * result.height) / (source.width * source.height)
    facts: dict[str, float | None] = {
        "size_ratio": _round(size, 4),
        "aspect_change": _round(aspect, 4),
    }
    if abs(math.log(aspect)) < SAME_ASPECT:
        places, edited = _compare_places(source, result)
        facts |= places
        if result.size == source.size:
            facts |= _compare_samples(source, result, edited) | {"alpha_loss": _compare_alpha(source, result)}
    return Fidelity(**facts)


def _compare_places(source: Image.Image, result: Image.Image) -> tuple[dict[str, float | None], Flags]:
    """Facts of places and colours, and which cells were edited."""
    factor = max(1, math.ceil(max(source.size) / LONG_SIDE))
    if result.size == source.size:
        small = [_flatten(image.reduce(factor)) for image in (source, result)]
    else:
        size = math.ceil(source.width / factor), math.ceil(source.height / factor)
        box = Image.Resampling.BOX
        small = [_flatten(image.resize(size, box, reducing_gap=2.0)) for image in (source, result)]
    one, other = (np.asarray(image) for image in small)
    lumas = np.asarray(small[0].convert("L")), np.asarray(small[1].convert("L"))
    facts: dict[str, float | None] = {}
    if (shift := find_shift(*lumas)) is not None:
        facts = {"shift_x": _round(shift.x * factor, 2), "shift_y": _round(shift.y * factor, 2)}
        if math.hypot(*shift) > _STILL:
            one, other = lay_over(one, other, shift)
            lumas = lay_over(*lumas, shift)
    if min(one.shape[:2]) < CELL:
        return facts, np.zeros((1, 1), bool)
    change = compare_cells(one, other, lumas)
    facts |= {"changed_share": _round(change.share, 4)}
    facts |= {"delta_e": _round(change.mean, 3), "delta_e_p95": _round(change.p95, 3)}
    return facts, change.edited


def _compare_samples(source: Image.Image, result: Image.Image, edited: Flags) -> dict[str, float | None]:
    """Facts of detail, from the samples in which nothing was edited, if they are a quarter of all."""
    boxes = kept = place_tiles(*source.size)
    if edited.any():
        kept = [box for box in boxes if not _find_cells(edited, box, source.size).any()]
    if not kept or 4 * len(kept) < len(boxes):
        return {}
    before, after = (_read_lumas(image, kept) for image in (source, result))
    noise = compare_noise(before, after)
    return {"sharpness_ratio": _round(compare_sharpness(before, after), 4), "noise_added": _round(noise, 3)}


def _find_cells(cells: Flags, box: Box, size: tuple[int, int]) -> Flags:
    """Those that lie in a box of an image of this size."""
    down, across = (n / length for n, length in zip(cells.shape, size[::-1], strict=True))
    left, top, right, bottom = box
    rows, columns = (int(top * down), int(bottom * down)), (int(left * across), int(right * across))
    return cells[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]


def _read_lumas(image: Image.Image, boxes: list[Box]) -> Bytes:
    """Luma of boxes of one size, (N, H, W). Those side by side are read at once, in half the time."""
    tiles = []
    for (top, bottom), row in groupby(boxes, key=lambda box: (box[1], box[3])):
        sides = [(left, right) for left, _, right, _ in row]
        first, last = sides[0][0], sides[-1][1]
        strip = np.asarray(_flatten(image.crop((first, top, last, bottom))).convert("L"))
        tiles += [strip[:, left - first : right - first] for left, right in sides]
    return np.stack(tiles)


def _compare_alpha(source: Image.Image, result: Image.Image) -> float | None:
    if source.mode != "RGBA":
        return None
    now = np.asarray(result.getchannel("A")) if result.mode == "RGBA" else None
    return _round(measure_alpha_loss(np.asarray(source.getchannel("A")), now, LONG_SIDE), 4)


def _flatten(image: Image.Image) -> Image.Image:
    """RGB, on white."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _round(value: float | None, digits: int) -> float | None:
    """To what the measure can tell; None stays None."""
    return None if value is None else round(value, digits) + 0.0  # which makes 0 of -0
