"""What the operations do to pixels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, ImageStat

from mira_batch.core.identity import frame_of
from mira_batch.models.embedded.operations import colour, geometry
from mira_batch.models.embedded.operations.operation import Operation, name_colour
from mira_batch.models.embedded.operations.text import WriteText
from tests.support import ROOT

IMAGES = ROOT / "configs" / "sample" / "images"

EVERY_OPERATION: list[Operation] = [
    geometry.Rotate(90),
    geometry.Rotate(180),
    geometry.Rotate(-12.5),
    geometry.Flip("horizontal"),
    geometry.Flip("vertical"),
    geometry.CropSize(100, 80),
    geometry.CropRatio(16, 9),
    geometry.CropSides(10, 5, 0, 20, "%"),
    geometry.CropSides(left=7),
    geometry.Resize(120, 90),
    geometry.Resize(width=150),
    geometry.Resize(height=90),
    geometry.ResizeSide(128),
    geometry.ResizeSide(128, "shortest"),
    geometry.Scale(50),
    geometry.PadSquare("navy"),
    geometry.Fit(200, 90, "navy"),
    geometry.Border(12, "px", "red"),
    geometry.Border(5, "%", "white"),
    colour.Grayscale(),
    colour.Sepia(),
    colour.Invert(),
    colour.Brightness(20),
    colour.Contrast(-30),
    colour.Saturation(50),
    colour.Blur(3),
    colour.Sharpen(150),
    colour.Tint("orange"),
    colour.Posterize(4),
    colour.Autocontrast(),
    colour.Flatten("navy"),
    WriteText("SALE", "bottom right"),
    WriteText("© me", "center", "black", "large", faint=True),
]
KEEPS_ALPHA = [
    op
    for op in EVERY_OPERATION
    if op.__class__.__module__ == colour.__name__ and op != colour.Flatten("navy")
]


def photo(mode: str = "RGB") -> Image.Image:
    """A cat, with alpha rising from left to right where it is asked for."""
    with Image.open(IMAGES / "chelsea.png") as image:
        cat = image.convert("RGB").resize((160, 120))
    if mode == "RGBA":
        ramp = Image.linear_gradient("L").rotate(90).resize(cat.size)
        cat.putalpha(ramp)
    return cat


def solid(mode: str, pixel: tuple[int, ...], size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size, pixel)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("operation", EVERY_OPERATION, ids=repr)
def test_an_operation_is_pure_and_changes_an_ordinary_photo(operation: Operation, mode: str) -> None:
    image = photo(mode)
    before = frame_of(image).digest
    once, again = frame_of(operation.apply(image)), frame_of(operation.apply(photo(mode)))
    assert frame_of(image).digest == before
    assert once.digest == again.digest
    assert once.pixels is not image
    flattened = isinstance(operation, colour.Flatten)
    assert once.pixels.mode == ("RGB" if flattened else mode)
    assert (once.digest != before) or (flattened and mode == "RGB")


@pytest.mark.parametrize("operation", KEEPS_ALPHA, ids=repr)
def test_colour_operations_leave_alpha_alone(operation: Operation) -> None:
    image = photo("RGBA")
    assert operation.apply(image).getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("operation", KEEPS_ALPHA, ids=repr)
def test_colour_operations_treat_an_opaque_image_as_one_without_alpha(operation: Operation) -> None:
    image = photo()
    opaque = image.copy()
    opaque.putalpha(255)
    assert operation.apply(opaque).convert("RGB").tobytes() == operation.apply(image).tobytes()


def test_quarter_turns_move_pixels_exactly() -> None:
    image = photo()
    assert geometry.Rotate(90).apply(image).getpixel((119, 0)) == image.getpixel((0, 0))
    assert geometry.Rotate(-90).apply(image).getpixel((0, 159)) == image.getpixel((0, 0))
    assert geometry.Rotate(180).apply(image).getpixel((159, 119)) == image.getpixel((0, 0))
    turned = image
    for _ in range(4):
        turned = geometry.Rotate(90).apply(turned)
    assert turned.tobytes() == image.tobytes() == geometry.Rotate(0).apply(image).tobytes()


def test_other_turns_grow_the_canvas_and_fill_its_corners() -> None:
    turned = geometry.Rotate(45).apply(solid("RGB", (255, 0, 0)))
    assert turned.width >= 49 and turned.height >= 49
    assert turned.getpixel((0, 0)) == (255, 255, 255)
    assert geometry.Rotate(45, "blue").apply(solid("RGB", (255, 0, 0))).getpixel((0, 0)) == (0, 0, 255)
    assert geometry.Rotate(45).apply(solid("RGBA", (255, 0, 0, 255))).getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_turn_is_clockwise() -> None:
    image = solid("RGB", (0, 0, 0), (41, 41))
    image.putpixel((40, 20), (255, 255, 255))
    lit = geometry.Rotate(30, "black").apply(image).convert("L").getbbox()
    assert lit is not None and lit[1] > geometry.Rotate(30, "black").apply(image).height // 2


@pytest.mark.parametrize(
    ("operation", "size"),
    [
        (geometry.CropSize(100, 80), (100, 80)),
        (geometry.CropRatio(1, 1), (120, 120)),
        (geometry.CropRatio(2.35, 1), (160, 68)),
        (geometry.CropSides(10, 10, 10, 10, "%"), (128, 96)),
        (geometry.CropSides(1, 2, 3, 4), (156, 114)),
        (geometry.Resize(width=80), (80, 60)),
        (geometry.Resize(height=240), (320, 240)),
        (geometry.ResizeSide(80), (80, 60)),
        (geometry.ResizeSide(60, "shortest"), (80, 60)),
        (geometry.Scale(150), (240, 180)),
        (geometry.PadSquare(), (160, 160)),
        (geometry.Border(10), (180, 140)),
        (geometry.Border(10, "%"), (184, 144)),
    ],
)
def test_sizes(operation: Operation, size: tuple[int, int]) -> None:
    assert operation.apply(photo()).size == size


def test_crops_keep_the_right_part() -> None:
    image = photo()
    assert geometry.CropSides(left=10, top=20).apply(image).getpixel((0, 0)) == image.getpixel((10, 20))
    assert geometry.CropSize(100, 80).apply(image).getpixel((0, 0)) == image.getpixel((30, 20))


def test_borders_and_padding_are_opaque_and_leave_the_inside_transparent() -> None:
    clear = solid("RGBA", (9, 9, 9, 0))
    bordered, padded = geometry.Border(2, colour="red").apply(clear), geometry.PadSquare().apply(clear)
    assert bordered.getpixel((0, 0)) == (255, 0, 0, 255) and bordered.getpixel((5, 5)) == (9, 9, 9, 0)
    assert padded.getpixel((0, 0)) == (255, 255, 255, 255) and padded.getpixel((20, 20)) == (9, 9, 9, 0)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (geometry.Scale(10_000), "at most 50 megapixels"),
        (geometry.Resize(100_000, 100_000), "100000x100000"),
        (geometry.Border(5_000), "at most 50 megapixels"),
        (geometry.Scale(0.1), "each side needs at least 1"),
        (geometry.CropSides(left=160), "each side needs at least 1"),
        (geometry.CropRatio(10_000, 1), "each side needs at least 1"),
        (geometry.CropSize(161, 10), "160x120 pixels can't be cropped to 161x10"),
        (WriteText("far too long a line for this " * 6 + "x"), "too small to read"),
        (WriteText("日本"), "no '日'"),
    ],
)
def test_what_an_image_does_not_allow_is_a_clear_error(operation: Operation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operation.apply(photo())


@pytest.mark.parametrize("side", [40_000, 1])
def test_bounds_hold_for_extreme_shapes(side: int) -> None:
    sliver = Image.new("RGB", (side, 1))
    if side > 1:
        with pytest.raises(ValueError, match="megapixels"):
            geometry.PadSquare().apply(sliver)
        with pytest.raises(ValueError, match="megapixels"):
            geometry.Rotate(45).apply(sliver)
    else:
        assert geometry.PadSquare().apply(sliver).size == (1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: geometry.Rotate(181),
        lambda: geometry.CropSides(),
        lambda: geometry.CropSides(50, 0, 50, 0, "%"),
        lambda: geometry.CropSides(left=1.5),
        lambda: geometry.Resize(),
        lambda: geometry.Scale(0),
        lambda: geometry.Border(0),
        lambda: geometry.Border(3, colour="grey"),
        lambda: geometry.PadSquare("no such colour"),
        lambda: colour.Brightness(-101),
        lambda: colour.Blur(float("nan")),
        lambda: colour.Tint("red", 0),
        lambda: colour.Posterize(1),
        lambda: WriteText(" "),
        lambda: WriteText("two\nlines"),
        lambda: WriteText("x" * 201),
    ],
)
def test_parameters_are_checked(make: Callable[[], Operation]) -> None:
    with pytest.raises(ValueError):
        make()


def test_colours_come_out_as_they_should() -> None:
    red = solid("RGB", (200, 40, 40))
    assert colour.Invert().apply(red).getpixel((0, 0)) == (55, 215, 215)
    assert colour.Brightness(50).apply(red).getpixel((0, 0)) == (255, 60, 60)
    assert colour.Brightness(-100).apply(red).getpixel((0, 0)) == (0, 0, 0)
    assert colour.Saturation(-100).apply(red).tobytes() == colour.Grayscale().apply(red).tobytes()
    assert colour.Posterize(2).apply(red).getpixel((0, 0)) == (255, 0, 0)
    r, g, b = ImageStat.Stat(colour.Sepia().apply(photo())).mean
    assert r > g > b
    tinted = ImageStat.Stat(colour.Tint("blue", 80).apply(photo())).mean
    assert tinted[2] > tinted[0]


def test_contrast_and_autocontrast_spread_the_tones() -> None:
    def spread(image: Image.Image) -> float:
        return ImageStat.Stat(image.convert("L")).stddev[0]

    dull = colour.Contrast(-50).apply(photo())
    assert spread(dull) < spread(photo()) < spread(colour.Contrast(40).apply(photo()))
    assert spread(colour.Autocontrast().apply(dull)) > 1.5 * spread(dull)


def test_hidden_colours_have_no_say() -> None:
    """The colour stored under alpha 0 must change nothing that is seen."""
    seen = photo().crop((0, 0, 80, 120))
    results = []
    for hidden in ((0, 0, 0, 0), (255, 0, 255, 0)):
        image = Image.new("RGBA", (160, 120), hidden)
        image.paste(seen, (0, 0))
        results.append(
            [op.apply(image) for op in (colour.Blur(4), colour.Contrast(30), colour.Autocontrast())]
        )
    for first, second in zip(*results, strict=True):
        ground = Image.new("RGBA", first.size, "white")
        ends = (Image.alpha_composite(ground, image).convert("RGB") for image in (first, second))
        assert ImageChops.difference(*ends).getbbox() is None


def test_a_wholly_transparent_image_can_be_edited() -> None:
    clear = solid("RGBA", (7, 7, 7, 0), (64, 64))
    for operation in EVERY_OPERATION:
        if not isinstance(operation, geometry.CropSize):
            assert operation.apply(clear).mode in ("RGB", "RGBA")


@pytest.mark.parametrize(
    ("position", "corner"),
    [
        ("top left", (0, 0)),
        ("top", (1, 0)),
        ("center", (1, 1)),
        ("right", (2, 1)),
        ("bottom right", (2, 2)),
    ],
)
def test_text_stands_where_it_should_and_fits(position: str, corner: tuple[int, int]) -> None:
    ground = Image.new("RGB", (300, 300), "gray")
    written = WriteText("Hi gy", position).apply(ground)  # type: ignore[arg-type]
    box = ImageChops.difference(ground, written).getbbox()
    assert box is not None
    assert (((box[0] + box[2]) // 2) // 100, ((box[1] + box[3]) // 2) // 100) == corner
    assert 12 <= box[3] - box[1] <= 60
    assert box[0] >= 5 and box[1] >= 5 and box[2] <= 295 and box[3] <= 295


def test_long_text_shrinks_to_fit_and_faint_text_shows_what_is_behind() -> None:
    ground = Image.new("RGB", (400, 200), "gray")
    box = ImageChops.difference(
        ground, WriteText("a rather long line of text that must shrink", size="large").apply(ground)
    ).getbbox()
    assert box is not None and box[0] > 0 and box[2] < 400
    bold, faint = (
        ImageStat.Stat(ImageChops.difference(ground, WriteText("x", faint=f).apply(ground))).sum[0]
        for f in (False, True)
    )
    assert 0.4 * bold < faint < 0.6 * bold


def test_text_is_drawn_over_transparency() -> None:
    clear = solid("RGBA", (0, 0, 0, 0), (200, 100))
    assert WriteText("hello").apply(clear).getchannel("A").getextrema() == (0, 255)


def test_flattening_lays_the_image_on_the_colour() -> None:
    assert colour.Flatten("navy").apply(solid("RGBA", (255, 0, 0, 0))).getpixel((0, 0)) == (0, 0, 128)
    assert colour.Flatten().apply(solid("RGBA", (255, 0, 0, 255))).getpixel((0, 0)) == (255, 0, 0)


def test_a_colour_has_one_name() -> None:
    assert [name_colour(c) for c in ("grey", "GRAY", "#808080", "#F00", "aqua", "#ff8800")] == [
        *("gray", "gray", "gray", "red", "cyan", "#ff8800")
    ]


def test_colour_names_are_read_also_after_pillow_was_asked_for_one() -> None:
    code = (
        "from PIL import Image; Image.new('RGB', (1, 1), 'white')\n"
        "from mira_batch.models.embedded.grammar.parse import parse\n"
        "print(parse('put a 4 px white border around it')[0].describe())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "add a 4 pixel white border around the image"
