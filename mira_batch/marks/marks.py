"""What was read of a source, as frozen data, and how foreign text gets into it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mira_batch.core.text import MOST_MESSAGE, clean_text

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Rights:
    """Whose an image is, and what it shows; each empty where the source doesn't say."""

    copyright: str = ""
    """The notice."""
    artist: str = ""
    """Who made it; several are parted by a semicolon."""
    credit: str = ""
    """Whom to name when it is shown."""
    description: str = ""
    """What it shows, in words."""

    def over(self, other: Rights) -> Rights:
        """These, and of another what these don't say."""
        names = self.__dataclass_fields__
        return Rights(**{name: getattr(self, name) or getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Marks:
    """All that a source says beside its pixels, as far as a result may want it."""

    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down, of the upright image; None where the source doesn't say."""
    rights: Rights = Rights()
    """Whose it is."""
    source_type: str = ""
    """The name of its digital source type; see `core/source_type.py`."""
    has_c2pa: bool = False
    """Whether it holds a signed manifest, or names one that lies elsewhere. Nobody has checked it."""
    depth: int = 8
    """Bits per channel, as stored."""
    exif: bytes = b""
    """Its EXIF as it may be carried over; empty where that was not asked for."""
    xmp: bytes = b""
    """Its XMP as it stands there; empty where that was not asked for."""


def clean_words(value: object) -> str:
    """Foreign text as it may stand in a file of ours: without what XML can't hold, and of bounded length.

    Args:
        value: text; of anything else nothing is taken.
    """
    if not isinstance(value, str):
        return ""
    return clean_text(_NOT_IN_XML.sub("", value), MOST_MESSAGE).strip()


def decode_words(value: object) -> str:
    """The same of text whose encoding nobody knows: UTF-8 where it is that, else Latin-1.

    Args:
        value: bytes, or text that was decoded as Latin-1.
    """
    data = value.encode("latin-1", "ignore") if isinstance(value, str) else value
    if not isinstance(data, bytes):
        return ""
    data = data.partition(b"\0")[0]
    try:
        return clean_words(data.decode())
    except UnicodeDecodeError:
        return clean_words(data.decode("latin-1"))
