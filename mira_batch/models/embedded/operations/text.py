"""The operation that writes a line of text: captions, labels and watermarks.

The font is the one embedded in Pillow, so that no machine needs font files and all draw the same pixels.
It has unaccented Latin letters, digits and common signs; a character it lacks raises rather than leaving an
empty box in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import ImageDraw, ImageFont
from PIL.Image import Image, alpha_composite, new

from mira_batch.models.embedded.operations.operation import NotForThisImage, check, check_colour, make_ink

Position = Literal[
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"
]
Size = Literal["small", "medium", "large"]

MAX_TEXT = 200
_HEIGHT: dict[Size, float] = {"small": 0.055, "medium": 0.09, "large": 0.16}
"""Font size as a share of the shorter side."""
_SMALLEST = 8
"""Font size in pixels below which text can't be read."""
_MISSING = "\U0010ffff"
"""A code point no font has: it is drawn as the font's "missing" glyph."""


@dataclass(frozen=True, slots=True)
class WriteText:
    """Write one line. It shrinks to fit the width, and has an outline so that it reads on any ground."""

    text: str
    position: Position = "bottom"
    colour: str = "white"
    size: Size = "medium"
    faint: bool = False
    """Half transparent, as a watermark is."""

    def __post_init__(self) -> None:
        check(self.text == " ".join(self.text.split()) != "", "the text is one line with no stray spaces")
        check(self.text.isprintable() and len(self.text) <= MAX_TEXT, f"at most {MAX_TEXT} letters and signs")
        check_colour(self.colour)

    def apply(self, image: Image) -> Image:
        font = self._choose_font(image)
        outline = _measure_outline(font)
        layer = new("RGBA", image.size)
        draw = ImageDraw.Draw(layer)
        box = draw.textbbox((0, 0), self.text, font, stroke_width=outline)
        x, y = self._find_corner(image.size, (int(box[2] - box[0]), int(box[3] - box[1])))
        red, green, blue = make_ink(self.colour, "RGB")
        bright = red * 299 + green * 587 + blue * 114 > 128_000
        draw.text(
            (x - box[0], y - box[1]),
            self.text,
            (red, green, blue, 255),
            font,
            stroke_width=outline,
            stroke_fill=(0, 0, 0, 255) if bright else (255, 255, 255, 255),
        )
        if self.faint:
            layer.putalpha(layer.getchannel("A").point([v // 2 for v in range(256)]))
        return alpha_composite(image.convert("RGBA"), layer).convert(image.mode)

    def describe(self) -> str:
        quoted = self.text.replace("\\", "\\\\").replace('"', '\\"')
        faintly = "faintly " if self.faint else ""
        # The colour stands first: "medium springgreen" would be the colour mediumspringgreen.
        return f'write "{quoted}" {faintly}in {self.colour} {self.size} letters at the {self.position}'

    def _choose_font(self, image: Image) -> ImageFont.FreeTypeFont:
        """The font at the wanted size, or smaller where the line would not fit."""
        missing = _find_missing(self.text)
        if missing:
            raise NotForThisImage(
                f"the embedded font has no {missing!r}, only unaccented letters and common signs"
            )
        room = image.width - 2 * _measure_margin(image.size)
        wanted = max(_SMALLEST + 2, round(min(image.size) * _HEIGHT[self.size]))
        font = _load_font(wanted)
        width = font.getlength(self.text) + 2 * _measure_outline(font)
        if width > room:
            font = _load_font(max(1, int(wanted * room / width)))
        if font.size < _SMALLEST or font.size > image.height:
            raise NotForThisImage(
                f"the text {self.text!r} would be too small to read in an image of "
                f"{image.width}x{image.height} pixels"
            )
        return font

    def _find_corner(self, image: tuple[int, int], text: tuple[int, int]) -> tuple[int, int]:
        """The upper left corner of the text's box."""
        margin, words = _measure_margin(image), self.position.split()
        x, y = ((whole - part) // 2 for whole, part in zip(image, text, strict=True))
        if "left" in words or "right" in words:
            x = margin if "left" in words else image[0] - text[0] - margin
        if "top" in words or "bottom" in words:
            y = margin if "top" in words else image[1] - text[1] - margin
        return x, y


def _load_font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _measure_margin(image: tuple[int, int]) -> int:
    return round(min(image) * 0.03)


def _measure_outline(font: ImageFont.FreeTypeFont) -> int:
    return max(1, round(font.size / 16))


def _find_missing(text: str) -> str:
    """The first character the font does not have, or nothing."""
    font = _load_font(20)
    box = _draw_glyph(font, _MISSING)
    return next((c for c in text if not c.isspace() and _draw_glyph(font, c) == box), "")


def _draw_glyph(font: ImageFont.FreeTypeFont, character: str) -> bytes:
    image = new("L", (48, 32))
    ImageDraw.Draw(image).text((4, 4), character, 255, font)
    return image.tobytes()
