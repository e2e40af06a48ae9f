"""Pictures that a page can hold: images made small enough, as data URIs."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

from PIL import Image

from mira_batch.report.contents import Picture

_SIZES = ((320, 80), (320, 65), (320, 50), (256, 50), (192, 50), (128, 50))
"""Longest side and quality of a thumbnail; the first that is small enough is taken."""
_METHOD = 2
"""Of libwebp, for thumbnails: half the time of its default, 4, for files that are a thirtieth larger."""
_LARGE = ((1_600, 90), (1_280, 85), (1_024, 80), (768, 75), (512, 60))
"""The same of a picture of a bounded size to be looked at large."""
_EXACT_PIXELS = 400_000
"""A whole image of at most so many pixels is kept without loss: some 300 kB of it."""
_WHOLE_SIDE, _WHOLE_QUALITY = 2_048, 92
"""Of a larger one: longest side, and quality."""


def shrink(image: Image.Image | str, most: int) -> Picture | str:
    """A thumbnail of at most about `most` bytes; of an image that there is not, why there is none."""
    if isinstance(image, str):
        return image
    data, small = b"", image.copy()  # what decoders give may be asked for again, whole
    for side, quality in _SIZES:
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        small.save(buffer, "WEBP", quality=quality, method=_METHOD)
        data = buffer.getvalue()
        if len(data) <= most:
            break
    return _make_picture(data, small, False)


def encode_whole(image: Image.Image) -> Picture:
    """All pixels of an image as they are; those of a large one nearly so, since its file would be too large
    for a page, and of a very large one fewer."""
    exact, buffer = image.width * image.height <= _EXACT_PIXELS, BytesIO()
    if exact:
        image.save(buffer, "WEBP", lossless=True, quality=20, method=1, exact=True)
    else:
        image = image.copy()
        image.thumbnail((_WHOLE_SIDE, _WHOLE_SIDE), Image.Resampling.LANCZOS)
        image.save(buffer, "WEBP", quality=_WHOLE_QUALITY)
    return _make_picture(buffer.getvalue(), image, exact)


def encode_large(image: Image.Image, most: int) -> Picture:
    """An image to be looked at large, in about `most` bytes or less: without loss if it can be, else as large
    as it can be."""
    buffer = BytesIO()
    if image.width * image.height <= _EXACT_PIXELS:
        image.save(buffer, "WEBP", lossless=True, quality=20, method=1, exact=True)
        if buffer.tell() <= most:
            return _make_picture(buffer.getvalue(), image, True)
    small = image.copy()
    for side, quality in _LARGE:
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        small.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= most:
            break
    return _make_picture(buffer.getvalue(), small, False)


def _make_picture(data: bytes, image: Image.Image, exact: bool) -> Picture:
    transparent = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    uri = f"data:image/webp;base64,{b64encode(data).decode()}"
    return Picture(uri, image.width, image.height, transparent, exact)
