"""What Pillow does not look at in a PNG: the checksums of its pixels, whether they are all there, and whether
there is the palette that they need. And what it should not: its texts."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_KEPT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts that may say which way is up."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the colour type."""
_PALETTE = 3
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass, and how far apart its columns and rows are."""
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_CODED = ((1, 13), (1, 1))
"""Primaries and transfer of sRGB, and of video that is shown like it, as H.273 numbers them."""
_GAMMA = 45_455
_PRIMARIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
"""sRGB's, as the chunks gAMA and cHRM write them."""
_PIECE = 1 << 18


def drop_texts(data: bytes) -> bytes:
    """A PNG without its texts; anything else as it is.

    Generators write whole workflows there. Pillow takes a megabyte of packed text at most, and would refuse
    the image for more, or for a text with a wrong checksum.

    Args:
        data: the encoded image.
    """
    if not data.startswith(_SIGNATURE):
        return data
    view, kept, start = memoryview(data), [], 0
    for kind, at, end in _walk_chunks(data):
        if kind in _TEXTS and end <= len(data) and not data.startswith(_KEPT, at + 8):
            kept.append(view[start:at])
            start = end
    return b"".join([*kept, view[start:]]) if kept else data


def check_pixels(data: bytes) -> None:
    """Compare the checksums of the chunks that make up the pixels, and see that a palette is there where it
    is needed. With some zeroed Pillow would find other pixels there, and no fault; without a palette, gray.

    Args:
        data: an encoded PNG.

    Raises:
        ValueError: a checksum is wrong, or the palette is missing.
    """
    view, seen = memoryview(data), set[bytes]()
    for kind, at, end in _walk_chunks(data):
        if kind not in _PIXELS or end > len(data):
            continue
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ValueError(f"the checksum of its chunk {kind.decode()} at byte {at:,} is wrong")
        if kind == b"IHDR" and data[at + 17] != _PALETTE:
            seen.add(b"PLTE")  # as good as there
        if kind == b"IDAT" and b"PLTE" not in seen:
            raise ValueError("its pixels are numbers of colours in a palette, which it lacks")
        seen.add(kind)


def find_foreign_colours(data: bytes) -> str:
    """In which colours other than sRGB a PNG says that it is, in words, where it says so otherwise than by an
    ICC profile; empty where it is sRGB, or has a profile, or says nothing.

    Args:
        data: an encoded PNG.
    """
    view = memoryview(data)
    found = {kind: bytes(view[at + 8 : end - 4]) for kind, at, end in _walk_chunks(data) if kind in _COLOURS}
    if len(coded := found.get(b"cICP", b"")) == 4 and tuple(coded[:2]) not in _CODED:
        return f"the colour space of its cICP chunk ({coded[0]}/{coded[1]}: wide or HDR)"
    if b"iCCP" in found or b"sRGB" in found:
        return ""
    gamma = int.from_bytes(found.get(b"gAMA", b""), "big")
    if gamma and abs(gamma - _GAMMA) > 0.05 * _GAMMA:
        return f"a gamma of {gamma / 100_000:g}"
    if len(primaries := found.get(b"cHRM", b"")) == 32:
        points = struct.unpack(">8I", primaries)
        if any(abs(is_at - own) > 1_000 for is_at, own in zip(points, _PRIMARIES, strict=True)):
            return "the primaries of its cHRM chunk"
    return ""


def lacks_rows(data: bytes, image: Image.Image) -> bool:
    """Whether the pixels' data end properly, but before the picture does: Pillow fills up with zeroes.

    It fills in whole rows, from the top down. So where the last row is not all zero, nothing is missing;
    only otherwise the data are unpacked once more, to count them.

    Args:
        data: an encoded PNG, checked by `check_pixels`.
        image: the same, loaded and not yet converted.
    """
    chunks = list(_walk_chunks(data))
    header = next(at for kind, at, _ in chunks if kind == b"IHDR")
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, header + 8)
    if not interlaced and np.asarray(image.crop((0, height - 1, width, height))).any():
        return False
    bits = depth * _CHANNELS[colours]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = sum(
        _count_bytes(-((left - width) // across), -((top - height) // down), bits)
        for left, top, across, down in passes
    )
    unpacker = zlib.decompressobj()
    for kind, at, end in chunks[[kind for kind, _, _ in chunks].index(b"IDAT") :]:
        if kind != b"IDAT":  # the run of them ends here, also for Pillow
            break
        rest: bytes | memoryview = memoryview(data)[at + 8 : end - 4]
        while rest and missing > 0 and not unpacker.eof:
            missing -= len(unpacker.decompress(rest, min(_PIECE, missing)))
            rest = unpacker.unconsumed_tail
    while missing > 0 and not unpacker.eof and (more := unpacker.decompress(b"", min(_PIECE, missing))):
        missing -= len(more)
    return missing > 0


def _count_bytes(width: int, height: int, bits: int) -> int:
    """Of so many rows, each with the byte that names its filter."""
    return max(0, height) * (1 + (width * bits + 7) // 8) if width > 0 else 0


def _walk_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and byte after the last of each chunk before the end; the last may be cut short."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return
        yield kind, at, end
        at = end
