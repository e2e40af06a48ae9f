"""HEIC, the format of phones, and what AVIF has in common with it. Needs the extra `heic`; a record says so
where it is missing."""

from __future__ import annotations

from functools import lru_cache

_BOX = b"colrnclx"
_PROFILES = (b"colrprof", b"colrrICC")
_WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_HDR = {8: "linear", 16: "PQ", 18: "HLG"}
"""Primaries and transfer, as H.273 numbers them, that show otherwise than sRGB."""


@lru_cache
def can_read_heif() -> bool:
    """Whether HEIC can be decoded here; from then on Pillow does it."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    # One thread: images are decoded side by side. No previews: they would be decoded in place of the picture.
    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return True


def find_coded_colours(data: bytes) -> str:
    """In which colours other than sRGB an AVIF or HEIC says by numbers that it is, in words; empty where it
    is sRGB, or has an ICC profile, or says nothing.

    Args:
        data: the encoded image.
    """
    at = data.find(_BOX)
    if at < 0 or any(kind in data for kind in _PROFILES):
        return ""
    numbers = data[at + len(_BOX) : at + len(_BOX) + 4]
    primaries, transfer = int.from_bytes(numbers[:2], "big"), int.from_bytes(numbers[2:], "big")
    names = [table[value] for table, value in ((_WIDE, primaries), (_HDR, transfer)) if value in table]
    return f"the colour space {' with '.join(names)}" if names else ""
