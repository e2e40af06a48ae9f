"""What a result says beside its pixels, in the forms that its file has for it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mira_batch.imaging import SRGB
from mira_batch.marks.exif import write_exif
from mira_batch.marks.marks import Marks, Rights
from mira_batch.marks.xmp import write_xmp

_MOST = 65_000
"""Bytes of EXIF or XMP that a JPEG holds in one piece."""
_METRE = 0.0254
"""An inch in metres."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is written into a result's file, beside the profile of sRGB."""

    exif: bytes = b""
    """EXIF as JPEG has it, with its six bytes before; empty for none."""
    xmp: bytes = b""
    """An XMP packet; empty for none."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down."""


def make_labels(marks: Marks, metadata: Literal["keep", "rights", "none"], source_type: str) -> Labels:
    """What a result takes from its source, and says of how it was made.

    Args:
        marks: of the source.
        metadata: how much of it is wanted, as `output.metadata`.
        source_type: name of the result's digital source type; empty for none.
    """
    if metadata == "none":
        return Labels(xmp=write_xmp(Rights(), source_type))
    rights, dpi = marks.rights, marks.dpi
    exif, xmp = write_exif(rights, dpi), write_xmp(rights, source_type)
    if metadata == "keep":
        exif = _write_whole(lambda: write_exif(rights, dpi, marks.exif), exif)
        xmp = _write_whole(lambda: write_xmp(rights, source_type, marks.xmp), xmp)
    return Labels(exif, xmp, dpi)


def _write_whole(write: Callable[[], bytes], otherwise: bytes) -> bytes:
    """What is written; `otherwise` where it has no room, or is foreign data that can be read, not written."""
    try:
        written = write()
    except MemoryError:
        raise
    except Exception:  # the boundary of what a source has in it, as in `read.py`
        return otherwise
    return written if len(written) < _MOST else otherwise


def label_png(png: bytes, labels: Labels) -> bytes:
    """A PNG with its profile and labels, and its pixels as they were encoded.

    Args:
        png: of our own writing, without any.
        labels: what it is to say.
    """
    parts = [_PROFILE]
    if labels.dpi is not None:
        across, down = (round(value / _METRE) for value in labels.dpi)
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if labels.exif:
        parts.append(_chunk(b"eXIf", labels.exif[6:]))
    if labels.xmp:
        parts.append(_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + labels.xmp))
    return b"".join([png[:_HEADER], *parts, memoryview(png)[_HEADER:]])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_HEADER = 33
"""Where a PNG's first chunk ends, which says its size."""
_PROFILE = _chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB, 9))
