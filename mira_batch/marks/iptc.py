"""IPTC-IIM, the older form in which agencies say whose an image is, in JPEG and TIFF."""

from __future__ import annotations

from PIL import Image, ImageFile, IptcImagePlugin

from mira_batch.marks.marks import Rights, decode_words

_COPYRIGHT, _ARTIST, _CREDIT, _DESCRIPTION = (2, 116), (2, 80), (2, 110), (2, 120)


def read_rights(image: Image.Image) -> Rights:
    """Whose an image is, by its IPTC-IIM.

    Args:
        image: as it was opened.

    Raises:
        Exception: whatever Pillow raises on a damaged block.
    """
    found = (IptcImagePlugin.getiptcinfo(image) if isinstance(image, ImageFile.ImageFile) else None) or {}

    def take(dataset: tuple[int, int]) -> str:
        value = found.get(dataset, b"")
        values = value if isinstance(value, list) else [value]
        return "; ".join(word for word in map(decode_words, values) if word)

    return Rights(take(_COPYRIGHT), take(_ARTIST), take(_CREDIT), take(_DESCRIPTION))
