"""The operations that move pixels, or change how many there are: rotate, flip, crop, resize, pad, border."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from PIL import ImageOps
from PIL.Image import Image, Resampling, Transpose, new

from mira_batch.models.embedded.operations.operation import (
    MAX_SIDE,
    NotForThisImage,
    Unit,
    check,
    check_colour,
    check_size,
    format_number,
    make_ink,
)


@dataclass(frozen=True, slots=True)
class Rotate:
    """Rotate about the centre; the canvas grows so that nothing is cut off."""

    degrees: float
    """Clockwise, in (-180, 180]. Multiples of 90 move pixels without resampling."""
    fill: str | None = None
    """Colour of the new corners; None is white, or transparent where the image has alpha."""

    def __post_init__(self) -> None:
        check(-180 < self.degrees <= 180, "rotate by more than -180 and at most 180 degrees")
        if self.fill is not None:
            check_colour(self.fill)

    def apply(self, image: Image) -> Image:
        if self.degrees == 0:
            return image.copy()
        exact = {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, -90: Transpose.ROTATE_90}
        if self.degrees in exact:
            return image.transpose(exact[int(self.degrees)])
        sine, cosine = (abs(f(math.radians(self.degrees))) for f in (math.sin, math.cos))
        width, height = image.size
        check_size(math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine))
        corners = (0, 0, 0, 0) if self.fill is None and image.mode == "RGBA" else None
        fill = corners or make_ink(self.fill or "white", image.mode)
        return image.rotate(-self.degrees, Resampling.BICUBIC, expand=True, fillcolor=fill)

    def describe(self) -> str:
        way = "counterclockwise" if self.degrees < 0 else "clockwise"
        corners = f" with {self.fill} corners" if self.fill else ""
        return f"rotate the image {format_number(abs(self.degrees))} degrees {way}{corners}"


@dataclass(frozen=True, slots=True)
class Flip:
    """Mirror: horizontal swaps left and right, vertical swaps top and bottom."""

    axis: Literal["horizontal", "vertical"]

    def apply(self, image: Image) -> Image:
        way = Transpose.FLIP_LEFT_RIGHT if self.axis == "horizontal" else Transpose.FLIP_TOP_BOTTOM
        return image.transpose(way)

    def describe(self) -> str:
        return f"{'mirror' if self.axis == 'horizontal' else 'flip'} the image {self.axis}ly"


@dataclass(frozen=True, slots=True)
class CropSize:
    """Keep the centre of this many pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        _check_pixels(self.width, self.height)

    def apply(self, image: Image) -> Image:
        if self.width > image.width or self.height > image.height:
            raise NotForThisImage(
                f"an image of {image.width}x{image.height} pixels can't be cropped to "
                f"{self.width}x{self.height}"
            )
        return _crop_centre(image, self.width, self.height)

    def describe(self) -> str:
        return f"crop the image to the central {self.width}x{self.height} pixels"


@dataclass(frozen=True, slots=True)
class CropRatio:
    """Keep the largest centred part of this aspect ratio."""

    width: float
    height: float

    def __post_init__(self) -> None:
        check(min(self.width, self.height) > 0, "both sides of an aspect ratio must be above 0")
        check(max(self.width, self.height) <= 10_000, "an aspect ratio has sides of at most 10000")

    def apply(self, image: Image) -> Image:
        width = min(image.width, round(image.height * self.width / self.height))
        height = min(image.height, round(image.width * self.height / self.width))
        return _crop_centre(image, *check_size(width, height))

    def describe(self) -> str:
        return f"crop the image to the aspect ratio {format_number(self.width)}:{format_number(self.height)}"


@dataclass(frozen=True, slots=True)
class CropSides:
    """Take pixels, or percents of the width or height, off each side."""

    left: float = 0
    top: float = 0
    right: float = 0
    bottom: float = 0
    unit: Unit = "px"

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        check(min(sides) >= 0 < max(sides), "crop more than nothing off at least one side")
        if self.unit == "px":
            check(all(side == int(side) for side in sides), "crop a whole number of pixels")
            check(max(sides) <= MAX_SIDE, f"crop at most {MAX_SIDE} pixels off")
        else:
            check(self.left + self.right < 100 > self.top + self.bottom, "crop less than 100% off in all")

    def apply(self, image: Image) -> Image:
        across, down = (1.0, 1.0) if self.unit == "px" else (image.width / 100, image.height / 100)
        left, top = round(self.left * across), round(self.top * down)
        right, bottom = image.width - round(self.right * across), image.height - round(self.bottom * down)
        check_size(right - left, bottom - top)
        return image.crop((left, top, right, bottom))

    def describe(self) -> str:
        unit = "%" if self.unit == "%" else " pixels"
        sides = {"left": self.left, "top": self.top, "right": self.right, "bottom": self.bottom}
        if len(set(sides.values())) == 1:
            return f"crop {format_number(self.left)}{unit} off every side of the image"
        parts = [f"{format_number(much)}{unit} off the {side}" for side, much in sides.items() if much]
        return f"crop {' and '.join(parts)} of the image"


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize to a width, a height (the other side follows), or exactly to both."""

    width: int | None = None
    height: int | None = None
    grows: bool | None = field(default=None, compare=False)
    """Whether to enlarge was asked for, or to reduce: an image that would do the other is refused."""

    def __post_init__(self) -> None:
        check(self.width is not None or self.height is not None, "resize to a width, a height or both")
        _check_pixels(*(side for side in (self.width, self.height) if side is not None))

    def apply(self, image: Image) -> Image:
        width = self.width or round(image.width * (self.height or 1) / image.height)
        height = self.height or round(image.height * (self.width or 1) / image.width)
        _check_growth(self.grows, image.size, (width, height))
        return image.resize(check_size(width, height), Resampling.LANCZOS)

    def describe(self) -> str:
        if self.width and self.height:
            return f"resize the image to {self.width}x{self.height} pixels"
        side, pixels = ("width", self.width) if self.width else ("height", self.height)
        return f"resize the image to a {side} of {pixels} pixels"


@dataclass(frozen=True, slots=True)
class ResizeSide:
    """Resize so that the longest (or the shortest) side has this many pixels."""

    pixels: int
    side: Literal["longest", "shortest"] = "longest"
    grows: bool | None = field(default=None, compare=False)
    """As in `Resize`."""

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)

    def apply(self, image: Image) -> Image:
        side = max(image.size) if self.side == "longest" else min(image.size)
        scaled = _scale(image, self.pixels / side)
        _check_growth(self.grows, image.size, scaled.size)
        return scaled

    def describe(self) -> str:
        return f"resize the image so that its {self.side} side is {self.pixels} pixels"


@dataclass(frozen=True, slots=True)
class Scale:
    """Resize both sides to a percentage of what they are."""

    percent: float

    def __post_init__(self) -> None:
        check(0 < self.percent <= 10_000, "scale to more than 0% and at most 10000%")

    def apply(self, image: Image) -> Image:
        return _scale(image, self.percent / 100)

    def describe(self) -> str:
        return f"scale the image to {format_number(self.percent)}%"


@dataclass(frozen=True, slots=True)
class PadSquare:
    """Add canvas to the shorter side until the image is square."""

    colour: str = "white"

    def __post_init__(self) -> None:
        check_colour(self.colour)

    def apply(self, image: Image) -> Image:
        side = max(image.size)
        canvas = new(image.mode, check_size(side, side), make_ink(self.colour, image.mode))
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return canvas

    def describe(self) -> str:
        return f"pad the image to a square with a {self.colour} background"


@dataclass(frozen=True, slots=True)
class Fit:
    """Scale the whole image, up or down, until it just fits into a size, and add canvas to that size."""

    width: int
    height: int
    colour: str = "white"

    def __post_init__(self) -> None:
        _check_pixels(self.width, self.height)
        check_colour(self.colour)

    def apply(self, image: Image) -> Image:
        check_size(self.width, self.height)
        factor = min(self.width / image.width, self.height / image.height)
        width = min(self.width, max(1, round(image.width * factor)))
        height = min(self.height, max(1, round(image.height * factor)))
        canvas = new(image.mode, (self.width, self.height), make_ink(self.colour, image.mode))
        scaled = image if (width, height) == image.size else image.resize((width, height), Resampling.LANCZOS)
        canvas.paste(scaled, ((self.width - width) // 2, (self.height - height) // 2))
        return canvas

    def describe(self) -> str:
        return f"fit the image into {self.width}x{self.height} pixels with a {self.colour} background"


@dataclass(frozen=True, slots=True)
class Border:
    """Add canvas of one colour on all four sides: a border, a frame, a margin."""

    width: float
    unit: Unit = "px"
    """% is of the shorter side."""
    colour: str = "black"

    def __post_init__(self) -> None:
        check(0 < self.width <= MAX_SIDE, f"a border is wider than 0 and at most {MAX_SIDE}")
        check(self.unit == "%" or self.width == int(self.width), "a border has a whole number of pixels")
        check_colour(self.colour)

    def apply(self, image: Image) -> Image:
        share = min(image.size) / 100 if self.unit == "%" else 1
        pixels = max(1, round(self.width * share))
        check_size(image.width + 2 * pixels, image.height + 2 * pixels)
        return ImageOps.expand(image, pixels, make_ink(self.colour, image.mode))

    def describe(self) -> str:
        unit = "%" if self.unit == "%" else " pixel"
        return f"add a {format_number(self.width)}{unit} {self.colour} border around the image"


def _check_growth(grows: bool | None, before: tuple[int, int], after: tuple[int, int]) -> None:
    steps = [new - old for old, new in zip(before, after, strict=True)]
    if (grows is True and min(steps) < 0) or (grows is False and max(steps) > 0):
        way, other = ("enlarged", "smaller") if grows else ("reduced", "larger")
        raise NotForThisImage(
            f"the image has {before[0]}x{before[1]} pixels; it can't be {way} to {after[0]}x{after[1]}, "
            f"which is {other}"
        )


def _check_pixels(*sides: int) -> None:
    check(all(1 <= side <= MAX_SIDE for side in sides), f"a side has 1 to {MAX_SIDE} pixels")


def _crop_centre(image: Image, width: int, height: int) -> Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _scale(image: Image, factor: float) -> Image:
    size = check_size(round(image.width * factor), round(image.height * factor))
    return image.resize(size, Resampling.LANCZOS)
