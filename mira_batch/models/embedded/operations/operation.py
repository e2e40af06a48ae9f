"""What every atomic operation is, and what all of them share.

An operation is a frozen dataclass. `apply(image)` takes an RGB or RGBA image and gives a new one;
`describe()` is the canonical English sentence of the edit, which `grammar.parse` reads back as the same
operation. Operations are pure: same input, same pixels, and the input is never changed. Numbers carry at
most three decimals and colours are in the form of `name_colour`, so that the sentence loses nothing.

The operations themselves are in `geometry.py`, `colour.py` and `text.py`;
which words mean which operation is the grammar's business.
"""

from __future__ import annotations

from typing import Literal, Protocol

from PIL import ImageColor
from PIL.Image import Image

MAX_PIXELS = 50_000_000
"""An operation that would give a larger image raises instead."""

MAX_SIDE = 100_000
"""No parameter asks for a longer side, in pixels."""

Unit = Literal["px", "%"]

_COLOUR_NAMES = {
    # By the name: Pillow puts a colour's numbers into its map in place of the text, once it was asked for it.
    ImageColor.getrgb(name): name
    for name in ImageColor.colormap
    if "grey" not in name
}


class NotForThisImage(ValueError):
    """What was asked for has no meaning for this very image, or can't be made of it."""


class Operation(Protocol):
    """One atomic edit with its parameters."""

    def apply(self, image: Image) -> Image:
        """The edited image; `NotForThisImage` says why this one can't be edited so."""
        ...

    def describe(self) -> str:
        """The canonical sentence."""
        ...


def check_size(width: int, height: int) -> tuple[int, int]:
    """The size itself, if an image may have it."""
    if width < 1 or height < 1:
        raise NotForThisImage(
            f"this would give an image of {width}x{height} pixels; each side needs at least 1"
        )
    if width * height > MAX_PIXELS:
        raise NotForThisImage(
            f"this would give an image of {width}x{height} pixels; "
            f"at most {MAX_PIXELS // 1_000_000} megapixels are allowed"
        )
    return width, height


def name_colour(text: str) -> str:
    """The one name of a colour: its CSS name ("gray", never "grey"), or #rrggbb where it has none."""
    red, green, blue = ImageColor.getrgb(text)[:3]
    return _COLOUR_NAMES.get((red, green, blue), f"#{red:02x}{green:02x}{blue:02x}")


def make_ink(colour: str, mode: str) -> tuple[int, ...]:
    """An opaque colour as a pixel of this mode."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return (red, green, blue, 255) if mode == "RGBA" else (red, green, blue)


def format_number(value: float) -> str:
    """A number as the sentences write it: no exponent, at most three decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def check(condition: bool, message: str) -> None:
    """Refuse a parameter: `message` says what it must be."""
    if not condition:
        raise ValueError(message)


def check_colour(colour: str) -> None:
    check(name_colour(colour) == colour, f"write the colour {colour!r} as {name_colour(colour)!r}")
