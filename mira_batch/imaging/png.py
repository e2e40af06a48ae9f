"""PNG as this package writes it: lossless, and quick.

Of each row the difference from the row above is deflated (filter type 2, "up", of the PNG specification,
section 9.2), with runs alone (Z_RLE). Pillow tries all five filters on each row, which alone takes longer
than this does as a whole, for files that are hardly smaller (docs/adr/0025).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from zlib_ng import zlib_ng

from mira_batch.core.types import Frame

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {"RGB": (2, 3), "RGBA": (6, 4)}
"""By mode: the colour type of the header, and bytes of a pixel."""
_UP = 2
_LEVEL = 1


def encode_png(image: Any) -> bytes:
    """A `PIL.Image.Image` as PNG, its pixels alone. The same pixels give the same bytes.

    Args:
        image: RGB or RGBA.

    Raises:
        ValueError: it is of another mode.
    """
    if image.mode not in _COLOUR_TYPES:
        raise ValueError(f"an image of mode {image.mode} is none that edits are made of: RGB or RGBA")
    colour_type, channels = _COLOUR_TYPES[image.mode]
    width, height = image.size
    rows = np.asarray(image).reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]  # above the first row is nothing, which counts as zeros
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    deflate = zlib_ng.compressobj(
        _LEVEL, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, zlib_ng.DEF_MEM_LEVEL, zlib_ng.Z_RLE
    )
    pixels = deflate.compress(filtered.data) + deflate.flush()
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", pixels), *_chunk(b"IEND", b"")])


def encode_frame(frame: Frame) -> bytes:
    """A frame as PNG. The step log, the results and the endpoints that are shown it next want the same bytes,
    so the frame holds them from now on. May be called from any thread."""
    if (png := frame.png) is None:
        object.__setattr__(frame, "png", png := encode_png(frame.pixels))  # of pixels that never change
    return png


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    """Length, type, data and checksum (section 5.3)."""
    checksum = zlib_ng.crc32(data, zlib_ng.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
