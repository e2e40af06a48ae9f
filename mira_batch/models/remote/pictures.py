"""Images on their way to an endpoint and back."""

from __future__ import annotations

import base64
import binascii
import io
import math
import threading
from collections import OrderedDict

from PIL import Image, UnidentifiedImageError

from mira_batch.core.errors import RecordError, describe
from mira_batch.core.foreign import name_content
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.serving import lay_on_white

_KEPT_BYTES = 256 << 20
"""Encoded images that are kept: two of a megapixel each for a hundred records in flight, about."""
_TAKEN, _OTHERS = ("PNG", "JPEG", "WEBP"), ("GIF", "AVIF", "BMP", "TIFF")
"""Formats of images that endpoints answer with, and others that are known."""
_SAME_ASPECT = 0.02
"""Endpoints round sizes to multiples of 16 or 64: shapes that differ by less than this are the same."""


class Wire:
    """Images as they go over the wire, encoded once: a policy is shown the original at every step, what an
    editor gets is what the policy has just seen, and what goes as it is, the step log has written. Calls may
    come from any thread."""

    def __init__(self, most_bytes: int = _KEPT_BYTES) -> None:
        """
        Args:
            most_bytes: of encoded images that are kept; those that were asked for longest ago go first.
        """
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, bool, int | None], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, frame: Frame, max_pixels: int | None = None, opaque: bool = False) -> bytes:
        """A frame as PNG, so that a model sees every pixel of a faint edit.

        Args:
            frame: which.
            max_pixels: one that has more is scaled down to that many.
            opaque: lay it on white where it is transparent.
        """
        width, height = frame.size
        most = max_pixels if max_pixels is not None and width * height > max_pixels else None
        flat = opaque and frame.pixels.mode == "RGBA"
        key = frame.digest, flat, most
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        # The frame of an original would hold it as long as its record is in flight: a large one for one call.
        logged = frame.png if most is None and not flat else None
        data = logged or _write_png(lay_on_white(frame.pixels) if flat else frame.pixels, most)
        with self._lock:
            if key not in self._kept and len(data) <= self._most:
                self._kept[key] = data
                self._bytes += len(data)
                while self._bytes > self._most:
                    self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


WIRE = Wire()
"""That of this process: a policy and an editor share it."""


def _write_png(image: Image.Image, max_pixels: int | None) -> bytes:
    from mira_batch.imaging import encode_png

    if max_pixels is not None:
        width, height = image.size
        scale = math.sqrt(max_pixels / (width * height))
        size = max(1, int(width * scale)), max(1, int(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return encode_png(image)


def write_data_url(png: bytes) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


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
        return Image.open(io.BytesIO(data), formats=_TAKEN)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        if form := _find_other_format(data):
            what = f"is of the format {form}; PNG, JPEG and WEBP are taken"
        else:
            content = name_content(data)
            what = f"is {content[0]}" if content else f"is no PNG, JPEG or WEBP: it begins with {data[:12]!r}"
    except Exception as error:  # the boundary of foreign bytes: decoders raise anything on them
        what = f"can't be read: {describe(error)}"
    raise RecordError(ErrorKind.editor_failed, f"the endpoint's image {what}")


def _find_other_format(data: bytes) -> str | None:
    """The format of an image that is whole but not taken, so that nobody is told that it is damaged."""
    try:
        return Image.open(io.BytesIO(data), formats=_OTHERS).format
    except Exception:  # the boundary of foreign bytes
        return None


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
