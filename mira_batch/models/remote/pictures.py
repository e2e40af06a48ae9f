"""Images on their way to an endpoint and back."""

from __future__ import annotations

import base64
import binascii
import io
import math

from PIL import Image, UnidentifiedImageError

from mira_batch.core.errors import RecordError, describe
from mira_batch.core.foreign import name_content
from mira_batch.core.types import ErrorKind

_SAME_ASPECT = 0.02
"""Endpoints round sizes to multiples of 16 or 64: shapes that differ by less than this are the same."""


def write_png(image: Image.Image, max_pixels: int | None = None) -> bytes:
    """An image as PNG, scaled down to `max_pixels` where it has more."""
    from mira_batch.imaging import encode_png

    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        scale = math.sqrt(max_pixels / (width * height))
        size = max(1, int(width * scale)), max(1, int(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return encode_png(image)


def write_data_url(image: Image.Image, max_pixels: int | None = None) -> str:
    """An image as a data URL: PNG, so that the policy sees every pixel of a faint edit."""
    return "data:image/png;base64," + base64.b64encode(write_png(image, max_pixels)).decode("ascii")


def open_base64(text: str) -> Image.Image:
    """The image of an answer in base64; see `open_image`.

    Raises:
        RecordError: it isn't base64, or not of an image.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(
            ErrorKind.editor_failed, f"the endpoint's image is no valid base64: {error}"
        ) from None
    return open_image(data)


def open_image(data: bytes) -> Image.Image:
    """The image of an answer, not decoded yet: `serving.check_frame` looks at its size first.

    Raises:
        RecordError: it isn't one that can be read, or is far too large.
    """
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except MemoryError:
        raise
    except UnidentifiedImageError:
        content = name_content(data)
        what = f"is {content[0]}" if content else f"is no PNG, JPEG or WEBP: it begins with {data[:12]!r}"
    except Exception as error:  # the boundary of foreign bytes: decoders raise anything on them
        what = f"can't be read: {describe(error)}"
    raise RecordError(ErrorKind.editor_failed, f"the endpoint's image {what}")


def fit_to(image: Image.Image, original: Image.Image) -> Image.Image:
    """A result at the size of the original.

    An endpoint that keeps the shape and changes the size gives back exactly the original's size. One that
    composed the image anew in another shape gives the largest size of that shape that fits into the
    original's: nothing is stretched, cut off or padded.
    """
    if image.size == original.size:
        return image
    width, height = original.size
    across, down = width / image.width, height / image.height
    if abs(across / down - 1) > _SAME_ASPECT:
        scale = min(across, down)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize((width, height), Image.Resampling.LANCZOS)
