"""Whether a JPEG's data reach to the end of its picture, and are all there.

libjpeg fills up what is missing, and Pillow keeps its warning to itself: half a file that ends properly would
pass as whole, grey below.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image, ImageChops, JpegImagePlugin

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_FILLER = bytes(random.Random(0).choices(range(1, 255), k=64))
_SCAN, _END, _RESTARTS = 0xDA, 0xD9, range(0xD0, 0xD8)
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ALL_BITS = 16
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


def lacks_scans(data: bytes) -> bool:
    """Whether some of what makes up the picture is in no scan: a progressive file of its first scans only
    shows everything, but without the detail. So each coefficient of each component must be there, to its
    last bit. A sequential scan holds all of its components.

    Args:
        data: the encoded image, which libjpeg decodes.
    """
    progressive = False
    bits: dict[int, list[int]] = {}  # of each coefficient, how many are missing below those that are there
    for kind, _, at in _walk_markers(data):
        if kind in _FRAMES:
            progressive = kind in _PROGRESSIVE
            bits = {component: [_ALL_BITS] * 64 for component in data[at + 8 : at + 8 + 3 * data[at + 7] : 3]}
        elif kind == _SCAN:
            end = at + 3 + 2 * data[at + 2]
            first, last, precision = data[end : end + 3] if progressive else (0, 63, 0)
            high, low = precision >> 4, precision & 15
            for component in data[at + 3 : end : 2]:
                for place in range(first, last + 1):  # a scan that refines, refines what came before it
                    if high in (0, bits[component][place]):
                        bits[component][place] = low
    return any(map(any, bits.values()))


def _stuff(data: bytes) -> bytes | None:
    """The file with filler after each piece of entropy-coded data; None where that would prove nothing."""
    parts: list[bytes] = []
    start, in_data = 0, False
    for kind, at, _ in _walk_markers(data):
        if in_data:
            parts += [data[start:at], _FILLER]
            start = at
        if kind == _END:
            return b"".join([*parts, data[start:]])
        if kind in _FRAMES and kind in _ARITHMETIC:
            return None
        in_data = kind == _SCAN or kind in _RESTARTS
    return None


def _walk_markers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, first byte and byte after the last of each marker, up to the picture's end. What lies between is
    passed over, as libjpeg does."""
    at = 2
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        yield kind, found.start(), at
        if kind == _END:
            return
        if kind not in _RESTARTS:
            at += int.from_bytes(data[at : at + 2], "big")
