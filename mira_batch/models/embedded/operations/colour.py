"""The operations that change colours and leave the image's size alone.

Alpha passes through untouched: colour is changed below it. Where an operation measures the image
(contrast, autocontrast) or mixes neighbours (blur), fully transparent pixels have no say, since the colour
stored in them is never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import ImageEnhance, ImageFilter, ImageOps, ImageStat
from PIL.Image import Image, alpha_composite, blend, merge, new

from mira_batch.models.embedded.operations.operation import (
    NotForThisImage,
    check,
    check_colour,
    format_number,
    make_ink,
)


@dataclass(frozen=True, slots=True)
class Grayscale:
    """Black and white (ITU-R 601 luma)."""

    def apply(self, image: Image) -> Image:
        return _recolour(image, _make_gray)

    def describe(self) -> str:
        return "make the image black and white"


@dataclass(frozen=True, slots=True)
class Sepia:
    """The brown tone of an old print."""

    def apply(self, image: Image) -> Image:
        def tone(rgb: Image) -> Image:
            return ImageOps.colorize(rgb.convert("L"), (20, 10, 0), (255, 240, 205), mid=(160, 120, 80))

        return _recolour(image, tone)

    def describe(self) -> str:
        return "make the image sepia"


@dataclass(frozen=True, slots=True)
class Invert:
    """The photographic negative."""

    def apply(self, image: Image) -> Image:
        return _recolour(image, ImageOps.invert)

    def describe(self) -> str:
        return "invert the colors of the image"


@dataclass(frozen=True, slots=True)
class Brightness:
    """Multiply every colour value."""

    percent: float
    """The change: 20 is a fifth brighter, -100 is black."""

    def __post_init__(self) -> None:
        _check_change(self.percent, "brightness")

    def apply(self, image: Image) -> Image:
        return _recolour(image, lambda rgb: _map_channels(rgb, lambda v: v * (1 + self.percent / 100)))

    def describe(self) -> str:
        return _describe_change("brightness", self.percent)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Spread colour values away from the image's mean brightness, or draw them to it."""

    percent: float

    def __post_init__(self) -> None:
        _check_change(self.percent, "contrast")

    def apply(self, image: Image) -> Image:
        seen = _mask_visible(image)
        mean = ImageStat.Stat(image.convert("L"), seen).mean[0] if seen is None or seen.getbbox() else 128
        spread = 1 + self.percent / 100
        return _recolour(image, lambda rgb: _map_channels(rgb, lambda v: mean + (v - mean) * spread))

    def describe(self) -> str:
        return _describe_change("contrast", self.percent)


@dataclass(frozen=True, slots=True)
class Saturation:
    """Move every pixel away from its gray, or to it."""

    percent: float

    def __post_init__(self) -> None:
        _check_change(self.percent, "saturation")

    def apply(self, image: Image) -> Image:
        return _recolour(image, lambda rgb: ImageEnhance.Color(rgb).enhance(1 + self.percent / 100))

    def describe(self) -> str:
        return _describe_change("saturation", self.percent)


@dataclass(frozen=True, slots=True)
class Blur:
    """Gaussian blur."""

    radius: float
    """In pixels."""

    def __post_init__(self) -> None:
        check(0 < self.radius <= 500, "a blur has a radius above 0 and at most 500 pixels")

    def apply(self, image: Image) -> Image:
        blur = ImageFilter.GaussianBlur(self.radius)
        if image.mode == "RGB":
            return image.filter(blur)
        # Premultiplied, so that hidden colours do not bleed into the visible edge.
        blurred = image.convert("RGBa").filter(blur).convert("RGBA")
        blurred.putalpha(image.getchannel("A"))
        return blurred

    def describe(self) -> str:
        return f"blur the image with a radius of {format_number(self.radius)} pixels"


@dataclass(frozen=True, slots=True)
class Sharpen:
    """Unsharp mask."""

    percent: float

    def __post_init__(self) -> None:
        check(1 <= self.percent <= 500, "sharpen by 1% to 500%")

    def apply(self, image: Image) -> Image:
        mask = ImageFilter.UnsharpMask(radius=2, percent=round(self.percent), threshold=2)
        return _recolour(image, lambda rgb: rgb.filter(mask))

    def describe(self) -> str:
        return f"sharpen the image by {format_number(self.percent)}%"


@dataclass(frozen=True, slots=True)
class Tint:
    """Mix in a version of the image whose mid-tones have this colour; black and white stay."""

    colour: str
    strength: float = 40
    """In percent."""

    def __post_init__(self) -> None:
        check_colour(self.colour)
        check(0 < self.strength <= 100, "a tint has a strength above 0% and at most 100%")

    def apply(self, image: Image) -> Image:
        def tint(rgb: Image) -> Image:
            wash = ImageOps.colorize(rgb.convert("L"), "black", "white", mid=make_ink(self.colour, "RGB"))
            return blend(rgb, wash, self.strength / 100)

        return _recolour(image, tint)

    def describe(self) -> str:
        return f"tint the image {self.colour} by {format_number(self.strength)}%"


@dataclass(frozen=True, slots=True)
class Posterize:
    """Leave this many values per colour channel."""

    levels: int = 4

    def __post_init__(self) -> None:
        check(2 <= self.levels <= 64, "posterize to 2 to 64 levels")

    def apply(self, image: Image) -> Image:
        top = self.levels - 1
        return _recolour(image, lambda rgb: _map_channels(rgb, lambda v: round(v * top / 255) * 255 / top))

    def describe(self) -> str:
        return f"posterize the image to {self.levels} levels"


@dataclass(frozen=True, slots=True)
class Autocontrast:
    """Stretch the tones to the full range, leaving out the outer half percent at either end."""

    def apply(self, image: Image) -> Image:
        seen = _mask_visible(image)
        if seen is not None and not seen.getbbox():
            return image.copy()
        return _recolour(
            image, lambda rgb: ImageOps.autocontrast(rgb, cutoff=0.5, mask=seen, preserve_tone=True)
        )

    def describe(self) -> str:
        return "apply autocontrast to the image"


@dataclass(frozen=True, slots=True)
class Flatten:
    """Lay a transparent image onto a colour; an image without alpha stays as it is."""

    colour: str = "white"
    behind: bool = field(default=False, compare=False)
    """Whether a background was asked for, which an opaque image has no room for."""

    def __post_init__(self) -> None:
        check_colour(self.colour)

    def apply(self, image: Image) -> Image:
        if self.behind and not _has_transparency(image):
            raise NotForThisImage(
                f"the image has no transparent parts, so a {self.colour} background can't be put behind it; "
                "this editor can't cut things out"
            )
        if image.mode == "RGB":
            return image.copy()
        ground = new("RGBA", image.size, make_ink(self.colour, "RGBA"))
        return alpha_composite(ground, image).convert("RGB")

    def describe(self) -> str:
        return f"flatten the transparent areas of the image onto {self.colour}"


def _recolour(image: Image, change: Callable[[Image], Image]) -> Image:
    """Change the colours of an RGB or RGBA image and put its alpha back."""
    changed = change(image if image.mode == "RGB" else image.convert("RGB"))
    if image.mode == "RGBA":
        changed.putalpha(image.getchannel("A"))
    return changed


def _make_gray(rgb: Image) -> Image:
    luma = rgb.convert("L")
    return merge("RGB", (luma, luma, luma))


def _map_channels(rgb: Image, value: Callable[[int], float]) -> Image:
    """Send every channel value through one table."""
    table = [max(0, min(255, round(value(v)))) for v in range(256)]
    return rgb.point(table * 3)


def _has_transparency(image: Image) -> bool:
    return image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)


def _mask_visible(image: Image) -> Image | None:
    """A mask of the pixels that are not fully transparent; None where all are seen."""
    if image.mode == "RGB":
        return None
    return image.getchannel("A").point([0] + [255] * 255)


def _check_change(percent: float, what: str) -> None:
    check(-100 <= percent <= 400, f"{what} changes by -100% to 400%")


def _describe_change(what: str, percent: float) -> str:
    way = "decrease" if percent < 0 else "increase"
    return f"{way} the {what} of the image by {format_number(abs(percent))}%"
