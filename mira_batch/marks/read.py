"""What an opened image says beside its pixels, whatever form it is in."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar

from PIL import ExifTags, Image, TiffImagePlugin

from mira_batch.core.source_type import find_generative
from mira_batch.imaging import find_orientation
from mira_batch.marks import exif as exif_marks
from mira_batch.marks import iptc, xmp
from mira_batch.marks.c2pa_box import find_c2pa
from mira_batch.marks.marks import Marks, Rights

T = TypeVar("T")
_DEPTHS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_PNG_DEPTH = 24
"""Where a PNG says how many bits a channel has."""
_BITS_PER_SAMPLE = 258
"""TIFF's tag for the same."""
_DEEP, _DEEPER = 0x40, 0x20
"""AVIF's bits for 10 and, with it, for 12."""
_SIDEWAYS = range(5, 9)
"""EXIF orientations that swap width and height."""
_LEAST_DPI, _MOST_DPI = 2, 65_535
"""1 is written where nothing is known; more no JPEG's header can hold."""
_PER_METRE = 0.0254
"""A pixel in a metre, in pixels per inch."""


def read_marks(image: Image.Image, data: bytes, keep: bool = False) -> Marks:
    """All that a source says beside its pixels. What is damaged is as good as not there.

    Args:
        image: loaded, not yet converted.
        data: what it was decoded from.
        keep: whether its EXIF and XMP are wanted as a whole.
    """
    found = _attempt(image.getexif, Image.Exif())
    packet = _as_bytes(image.info.get("xmp"))
    rdf = _attempt(lambda: xmp.parse_xmp(packet) if packet else None, None)
    manifest = _attempt(lambda: find_c2pa(image, data), None)
    rights, source_type, names_c2pa = Rights(), "", False
    if rdf is not None:
        rights = _attempt(lambda: xmp.read_rights(rdf), rights)
        source_type = _attempt(lambda: xmp.read_source_type(rdf), source_type)
        names_c2pa = _attempt(lambda: xmp.names_c2pa(rdf), names_c2pa)
    rights = rights.over(_attempt(lambda: iptc.read_rights(image), Rights()))
    return Marks(
        dpi=_attempt(lambda: _find_dpi(image, found, data), None),
        rights=rights.over(_attempt(lambda: exif_marks.read_rights(found), Rights())),
        source_type=source_type or (find_generative(manifest) if manifest else ""),
        has_c2pa=manifest is not None or names_c2pa,
        depth=_attempt(lambda: find_depth(image, data), 8),
        exif=_attempt(lambda: exif_marks.carry_over(found), b"") if keep else b"",
        xmp=packet if keep and rdf is not None else b"",
    )


def find_depth(image: Image.Image, data: bytes) -> int:
    """Bits per channel, as stored.

    Args:
        image: as it was opened.
        data: the file.
    """
    match image.format:
        case "PNG":
            return data[_PNG_DEPTH]
        case "TIFF":
            return int(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))[0])  # its default
        case "AVIF":
            at = data.find(b"av1C")
            flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
            return 8 if not flags & _DEEP else 12 if flags & _DEEPER else 10
        case "HEIF":
            return int(image.info.get("bit_depth") or 8)
    return _DEPTHS.get(image.mode, 8)


def _find_dpi(image: Image.Image, exif: Image.Exif, data: bytes) -> tuple[float, float] | None:
    given: Any = image.info.get("dpi") or exif_marks.read_dpi(exif)
    if given is None:
        return None
    x, y = (_snap(float(value)) for value in given)
    if not (_LEAST_DPI <= x <= _MOST_DPI and _LEAST_DPI <= y <= _MOST_DPI):
        return None
    turned = image.info.get("original_orientation") or find_orientation(image)  # HEIC's is undone
    if x != y and image.format == "TIFF":  # so is TIFF's, once it is loaded
        turned = TiffImagePlugin.TiffImageFile(io.BytesIO(data)).tag_v2.get(ExifTags.Base.Orientation)
    return (y, x) if turned in _SIDEWAYS else (x, y)


def _snap(dpi: float) -> float:
    """A PNG counts pixels per metre, and so makes 300 of an inch 299.9994."""
    whole = float(round(dpi)) if dpi < 2 * _MOST_DPI else dpi
    return whole if abs(dpi - whole) <= _PER_METRE / 2 else dpi


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="replace")
    return value if isinstance(value, bytes) else b""


def _attempt(read: Callable[[], T], otherwise: T) -> T:
    """What is read; `otherwise` where that fails. The boundary of foreign data: readers raise anything."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception:
        return otherwise
