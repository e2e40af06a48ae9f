"""Whether an encoded image is all there, as far as its format tells; Pillow alone passes over much of it."""

from __future__ import annotations

from PIL import Image, ImageFile

from mira_batch.imaging.convert import UnfitImage
from mira_batch.imaging.jpeg_data import is_cut_short, lacks_scans
from mira_batch.imaging.png_data import check_pixels, lacks_rows

_FORGIVING = ("WEBP", "AVIF", "HEIF")
"""Formats whose decoders make a picture of whatever they are given."""
_HOLE = 1024
"""Zero bytes at the end by which a file counts as half written."""


def load_whole(image: Image.Image, data: bytes) -> None:
    """Decode an image, and see that nothing of it is missing.

    Args:
        image: as it was opened, not decoded yet.
        data: what it was opened from.

    Raises:
        UnfitImage: some of it is missing; the text says what, of an "it".
        Exception: whatever Pillow raises on damaged bytes.
    """
    # Code that trains models likes to set it, and a custom model is in this process: Pillow would fill up
    # what is missing with gray, and say nothing.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    if image.format == "PNG":
        check_pixels(data)
    image.load()
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg and lacks_scans(data):
        raise UnfitImage("is damaged: it lacks some of its scans, and so detail or colour")
    if image.format in _FORGIVING and not data[-_HOLE:].strip(b"\0"):
        raise UnfitImage("is damaged: its end is nothing but zeros, as of a file half written")
    if is_cut_short(data, image) if is_jpeg else image.format == "PNG" and lacks_rows(data, image):
        raise UnfitImage("is damaged: its data end before the picture does")
