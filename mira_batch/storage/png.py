"""What Pillow does not look at in a PNG: the checksums of its pixels. And what it should not: its texts."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_KEPT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts that may say which way is up."""


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
        if kind in _TEXTS and not data.startswith(_KEPT, at + 8):
            kept.append(view[start:at])
            start = end
    return b"".join([*kept, view[start:]]) if kept else data


def check_pixels(data: bytes) -> None:
    """Compare the checksums of the chunks that make up the pixels. With some of them zeroed Pillow would find
    other pixels there, and no fault.

    Args:
        data: an encoded PNG.

    Raises:
        ValueError: one is wrong.
    """
    view = memoryview(data)
    for kind, at, end in _walk_chunks(data):
        if kind in _PIXELS and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(
            view[end - 4 : end], "big"
        ):
            raise ValueError(f"the checksum of its chunk {kind.decode()} at byte {at:,} is wrong")


def _walk_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and byte after the last of each whole chunk before the end."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND" or end > len(data):
            return
        yield kind, at, end
        at = end
