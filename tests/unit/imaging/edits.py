"""Made-up edits of photographs, of which the truth is known."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from tests.support.runs.catalogue import SAMPLE

NAMES = sorted(path.name for path in (SAMPLE / "images").iterdir())
MARGIN = 120
"""Pixels around a photograph, from which comes what is moved into it."""


def photograph(name: str, width: int = 1024, height: int = 768, x: float = 0, y: float = 0) -> Image.Image:
    """One of the sample's, of this size; what it shows is moved to the right and down by so many pixels."""
    whole = Image.open(SAMPLE / "images" / name).convert("RGB")
    whole = ImageOps.fit(whole, (width + 2 * MARGIN, height + 2 * MARGIN))
    place = (1, 0, MARGIN - x, 0, 1, MARGIN - y)
    return whole.transform((width, height), Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)


def photographs() -> Iterator[tuple[str, Image.Image]]:
    for name in NAMES:
        yield name, photograph(name)


def tint(image: Image.Image, by: tuple[float, float, float]) -> Image.Image:
    """Red, green and blue times these."""
    return from_levels(np.asarray(image) * np.array(by))


def from_levels(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, quality: int) -> Image.Image:
    """As it comes back from a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return Image.open(buffer).convert("RGB")
