"""What is done to images everywhere. They are typed `Any`, since `core` doesn't import Pillow."""

from __future__ import annotations

from typing import Any

MOST_PIXELS = 89_478_485
"""Images with more are taken for an attack by Pillow, whoever opens them."""


def read_only_view(image: Any) -> Any:
    """Another `PIL.Image.Image` over the same pixels, without metadata.

    It costs a microsecond. Whoever draws on it gets a copy of the pixels first, as on any image that Pillow
    holds for read-only.
    """
    other = image._new(image.im)  # with what Pillow's own methods make their results; nothing public shares
    other.info = {}
    other.readonly = 1
    return other


def has_alpha(image: Any) -> bool:
    """Whether a `PIL.Image.Image` of any mode may have transparent pixels: palettes may, too."""
    return image.has_transparency_data
