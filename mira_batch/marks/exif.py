"""EXIF: what is taken from a source's, and what is written into a result's.

Never the orientation, since pixels are upright; nor what describes the file that it came from (sizes, strips,
colour space, a small picture), nor the maker's note, whose pointers hold in that file only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

from mira_batch.marks.marks import Rights, decode_words

_BASE, _IFD = ExifTags.Base, ExifTags.IFD
_RESOLUTION = (_BASE.XResolution, _BASE.YResolution, _BASE.ResolutionUnit)
_INCH = 2
_KEPT = (
    _BASE.ImageDescription, _BASE.Make, _BASE.Model, _BASE.Software, _BASE.DateTime, _BASE.Artist,
    _BASE.HostComputer, _BASE.Copyright, _BASE.DocumentName, _BASE.PageName, _BASE.Rating,
    _BASE.RatingPercent, _BASE.XPTitle, _BASE.XPComment, _BASE.XPAuthor, _BASE.XPKeywords, _BASE.XPSubject,
)  # fmt: skip
"""Of the first directory."""
_LEFT_OUT = (
    _BASE.MakerNote, _BASE.ColorSpace, _BASE.ExifImageWidth, _BASE.ExifImageHeight,
    _BASE.ExifInteroperabilityOffset, _BASE.ComponentsConfiguration, _BASE.CompressedBitsPerPixel,
)  # fmt: skip
"""Of the directory of the shot."""
_SRGB = 1


class _Text(str):
    """Text that Pillow has read as Latin-1, whatever its encoding, and would write as ASCII."""

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        """The bytes that it was read from."""
        return super().encode("latin-1", "replace")


def read_rights(exif: Image.Exif) -> Rights:
    """Whose an image is, by its EXIF, which has no credit.

    Args:
        exif: of an image.
    """
    names = (_BASE.Copyright, _BASE.Artist, _BASE.ImageDescription)
    notice, artist, description = (decode_words(exif.get(name)) for name in names)
    return Rights(copyright=notice, artist=artist, description=description)


def read_dpi(exif: Image.Exif) -> tuple[Any, Any] | None:
    """Pixels per inch by EXIF; None where it doesn't say.

    Args:
        exif: of an image.
    """
    x, y, unit = (exif.get(name) for name in _RESOLUTION)
    if x is None or y is None or unit not in (None, _INCH, 3):
        return None
    per = 2.54 if unit == 3 else 1.0
    return float(x) * per, float(y) * per


def carry_over(exif: Image.Exif) -> bytes:
    """All of an EXIF that is as true of a result, encoded; GPS included.

    Args:
        exif: of a source.

    Raises:
        Exception: whatever Pillow raises on values that it can't write.
    """
    kept = Image.Exif()
    kept.endian = "<"
    kept.update(_as_read({tag: exif[tag] for tag in _KEPT if tag in exif}))
    shot = _as_read({tag: value for tag, value in exif.get_ifd(_IFD.Exif).items() if tag not in _LEFT_OUT})
    if shot:
        kept.get_ifd(_IFD.Exif).update(shot)
    if place := _as_read(exif.get_ifd(_IFD.GPSInfo)):
        kept.get_ifd(_IFD.GPSInfo).update(place)
    return kept.tobytes() if len(kept) or shot or place else b""


def write_exif(rights: Rights, dpi: tuple[float, float] | None, carried: bytes = b"") -> bytes:
    """A result's EXIF; empty where there is nothing to say.

    Args:
        rights: whose it is.
        dpi: pixels per inch across and down.
        carried: what `carry_over` gave; what it says of rights stands where `rights` says nothing.
    """
    exif = Image.Exif()
    exif.endian = "<"
    if carried:
        exif.load(carried)
        shot = exif.get_ifd(_IFD.Exif)
        shot.update(_as_read(shot) | {_BASE.ColorSpace: _SRGB})
        exif.update(_as_read(exif))
    texts = ((_BASE.ImageDescription, rights.description), (_BASE.Artist, rights.artist))
    for tag, text in (*texts, (_BASE.Copyright, rights.copyright)):
        if text:
            exif[tag] = text.encode()  # as text it would become ASCII
    if dpi is not None:
        exif.update(zip(_RESOLUTION, (*dpi, _INCH), strict=True))
    return exif.tobytes() if len(exif) else b""


def _as_read(values: Mapping[int, Any]) -> dict[int, Any]:
    """The values of a directory, its texts such that they are written as they were read."""
    return {tag: _Text(value) if isinstance(value, str) else value for tag, value in values.items()}
