"""Whether a JPEG's data reach to the end of its picture.

libjpeg fills up what is missing, and Pillow keeps its warning to itself: half a file that ends properly would
pass as whole, grey below.
"""

from __future__ import annotations

import io
import random
import re
from contextlib import suppress

from PIL import Image, ImageChops, JpegImagePlugin

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_FILLER = bytes(random.Random(0).choices(range(1, 255), k=64))
_SCAN, _END, _RESTARTS = 0xDA, 0xD9, range(0xD0, 0xD8)
_ARITHMETIC = range(0xC9, 0xD0)
"""Frames whose coder may leave out the end of its data."""


def is_cut_short(data: bytes, image: Image.Image) -> bool:
    """Whether entropy-coded data end before the picture that they code.

    Some bytes are put in at the end of each piece of data, and the file decoded once more. A decoder passes
    over them in search of the marker that follows, unless it still lacks data: then it takes them for such,
    and gives other pixels. So it costs a second decoding. Damage that leaves enough data is not found out: a
    JPEG has no checksum.

    Args:
        data: the encoded image.
        image: the same, decoded.
    """
    stuffed = _stuff(data)
    if stuffed is None:
        return False
    with suppress(OSError, SyntaxError, ValueError):  # then it is no proof of anything
        other = JpegImagePlugin.JpegImageFile(io.BytesIO(stuffed))
        other.load()
        return other.mode == image.mode and ImageChops.difference(other, image).getbbox() is not None
    return False


def _stuff(data: bytes) -> bytes | None:
    """The file with filler after each piece of entropy-coded data; None where that would prove nothing."""
    parts: list[bytes] = []
    start, at = 0, 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        if kind == _END:
            return b"".join([*parts, data[start:]])
        if kind in _ARITHMETIC and kind != 0xCC:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        while kind == _SCAN:
            found = _MARKER.search(data, at)
            if found is None:
                return None
            parts += [data[start : found.start()], _FILLER]
            start, at = found.start(), found.end()
            if found[1][0] not in _RESTARTS:
                at = start
                break
    return None
