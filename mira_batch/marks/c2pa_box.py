"""Where a signed manifest (C2PA) lies in an image file. Found, not checked: that is for a validator to do."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

_TIFF_TAG = 52545
_BOX = b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""In files of ISO's base media form: AVIF, HEIF."""


def find_c2pa(image: Image.Image, data: bytes) -> bytes | None:
    """The bytes that hold an image's signed manifest; None where there is none.

    Args:
        image: loaded, as it was opened.
        data: the file.
    """
    match image.format:
        case "JPEG" | "MPO":
            parts = [part for name, part in getattr(image, "applist", ()) if name == "APP11"]
            found = b"".join(part for part in parts if part.startswith(b"JP"))
            return found if b"jumb" in found and b"c2pa" in found else None
        case "PNG":
            chunks = getattr(image, "private_chunks", ())
            return next((chunk[1] for chunk in chunks if chunk[0] == b"caBX"), None)
        case "WEBP":
            return next((part for name, part in _walk_riff(data) if name == b"C2PA"), None)
        case "TIFF":
            value = getattr(image, "tag_v2", {}).get(_TIFF_TAG)
            return value if isinstance(value, bytes) else None if value is None else bytes(value)
        case "AVIF" | "HEIF":
            at = data.find(_BOX)
            return None if at < 4 else data[at : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    return None


def _walk_riff(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
