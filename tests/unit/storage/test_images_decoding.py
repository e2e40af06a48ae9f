"""Images are decoded to RGB or RGBA: formats, orientation, depth, palettes and transparency."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from mira_batch.inspect.facts import read_header
from tests.support.pictures import chunk, corners, encoded, png, tiff
from tests.unit.storage.decoded import LEVELS, LOSSLESS, pixels, same, shown, unreadable


@pytest.mark.parametrize("form", LOSSLESS)
def test_rgb_comes_through_unchanged(form: str) -> None:
    assert same(shown(encoded(corners(), form, **LOSSLESS[form])), corners())


@pytest.mark.parametrize("form", ["JPEG", "AVIF", "GIF"])
def test_other_formats_are_read(form: str) -> None:
    image = shown(encoded(Image.new("RGB", (16, 16), (200, 100, 50)), form))
    assert np.abs(np.asarray(image).astype(int) - (200, 100, 50)).max() < 8


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_kept_also_over_hidden_colours(form: str) -> None:
    image = corners("RGBA")
    image.putpixel((1, 1), (77, 88, 99, 0))
    image.putpixel((2, 1), (77, 88, 99, 128))
    assert same(shown(encoded(image, form, **LOSSLESS[form])), image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    flip = Image.Transpose
    undo = [
        None,
        flip.FLIP_LEFT_RIGHT,
        flip.ROTATE_180,
        flip.FLIP_TOP_BOTTOM,
        flip.TRANSPOSE,
        flip.ROTATE_90,  # stored turned left, so that a viewer turns it right
        flip.TRANSVERSE,
        flip.ROTATE_270,
    ][orientation - 1]
    upright = corners(size=(32, 16)).resize((64, 32), Image.Resampling.NEAREST)
    stored = upright.transpose(undo) if undo is not None else upright
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else LOSSLESS[form]
    image = shown(encoded(stored, form, exif=exif, **options))
    assert image.size == upright.size
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).max() <= (30 if form == "JPEG" else 0)


def exif_of(*entries: tuple[int, int, bytes]) -> bytes:
    """EXIF of values of at most four bytes: tag, type and value of each."""
    body = b"".join(struct.pack("<HHI", tag, kind, 1) + value.ljust(4, b"\0") for tag, kind, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


QUARTER = 0x112, 3, b"\6\0"


@pytest.mark.parametrize(
    "odd",
    [
        (0x128, 10, b"\x08\0\0\0"),  # a unit of resolution that is a fraction
        (0x11A, 2, b"72\0"),  # a resolution that is text
        (0x132, 11, b"\0\0\x80?"),  # a date that is a number
        (0x8769, 8, b"\xff\xff"),  # a directory before the file
    ],
)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_an_odd_value_in_exif_spoils_no_image_that_is_turned(form: str, odd: tuple[int, int, bytes]) -> None:
    exif = exif_of(*sorted([QUARTER, odd]))
    assert shown(encoded(Image.new("RGB", (32, 16)), form, exif=exif)).size == (16, 32)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_exif_that_is_none_spoils_no_image(form: str) -> None:
    for junk in (b"junkjunk", b"II", b"II*\0"):
        assert shown(encoded(Image.new("RGB", (32, 16)), form, exif=b"Exif\0\0" + junk)).size == (32, 16)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_an_orientation_counts_after_a_value_that_lies_out_of_the_file(form: str) -> None:
    maker = 0x10F, 12, b"\xff\xff\xff\xff"
    data = encoded(Image.new("RGB", (32, 16)), form, exif=exif_of(maker, QUARTER))
    assert shown(data).size == (16, 32)
    assert read_header(data)["exif_orientation"] == 6


def test_orientation_and_alpha_and_16_bits_go_together() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    rgba = corners("RGBA")
    rgba.putpixel((3, 3), (1, 2, 3, 4))
    assert same(shown(encoded(rgba.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)), rgba)
    wide = Image.fromarray(np.arange(0, 65536, 257, dtype=np.uint16).reshape(8, 32))
    upright = shown(encoded(wide, "PNG"))
    assert same(shown(encoded(wide.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)), upright)


AT_8_BITS = [0, 0, 0, 1, 1, 128, 254, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_and_not_cut(form: str) -> None:
    image = shown(encoded(Image.fromarray(LEVELS), form))
    assert pixels(image) == [(v, v, v) for v in AT_8_BITS]


def test_16_bit_gray_tiff_with_white_as_zero_is_no_negative() -> None:
    image = shown(tiff(8, 1, 16, 0, LEVELS.tobytes()))
    assert [pixel[0] for pixel in pixels(image)] == [255 - v for v in AT_8_BITS]
    assert [pixel[0] for pixel in pixels(shown(tiff(2, 1, 8, 0, b"\0\xff")))] == [255, 0]


def test_16_bit_colour_keeps_its_upper_bits() -> None:
    """As the docs say: 1000 becomes 3, where gray, which is rounded, becomes 4."""
    for colour, values in ((2, 3), (6, 4), (4, 2)):
        image = shown(png(1, 1, 16, colour, [struct.pack(f">{values}H", *[1000] * values)]))
        assert set(pixels(image)[0]) == {3}
    assert pixels(shown(png(1, 1, 16, 0, [struct.pack(">H", 1000)]))) == [(4, 4, 4)]
    data = png(2, 1, 16, 2, [struct.pack(">6H", 0, 32768, 65535, 65535, 0, 0)])
    assert pixels(shown(data)) == [(0, 128, 255), (255, 0, 0)]
    data = png(2, 1, 16, 4, [struct.pack(">4H", 0, 65535, 65535, 0)])
    assert pixels(shown(data)) == [(0, 0, 0, 255), (255, 255, 255, 0)]


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, bytes([0b10000000]), 0, [(255, 255), (0, 0)]),
        (1, bytes([0b10000000]), 1, [(255, 0), (0, 255)]),
        (2, bytes([0b01100000]), 1, [(85, 0), (170, 255)]),
        (4, bytes([0x3F]), 3, [(51, 0), (255, 255)]),
        (8, bytes([5, 200]), 5, [(5, 0), (200, 255)]),
        (16, struct.pack(">2H", 300, 301), 300, [(1, 0), (1, 255)]),
    ],
)
def test_the_transparent_gray_of_a_png_is_found_at_every_depth(
    depth: int, row: bytes, key: int, expected: list[tuple[int, int]]
) -> None:
    image = shown(png(2, 1, depth, 0, [row], chunk(b"tRNS", struct.pack(">H", key))))
    assert pixels(image) == [(v, v, v, a) for v, a in expected]


def test_the_transparent_colour_of_a_png() -> None:
    data = png(2, 1, 8, 2, [bytes([1, 2, 3, 4, 5, 6])], chunk(b"tRNS", struct.pack(">3H", 4, 5, 6)))
    assert pixels(shown(data)) == [(1, 2, 3, 255), (4, 5, 6, 0)]
    wide = png(1, 1, 16, 2, [bytes(6)], chunk(b"tRNS", bytes(6)))
    assert "transparent colour of 16 bits" in unreadable(wide)


def test_a_palette_becomes_its_colours() -> None:
    image = corners().quantize(8)
    assert same(shown(encoded(image, "PNG")), image.convert("RGB"))
    assert same(shown(encoded(image, "GIF")), image.convert("RGB"))


def test_a_tiff_whose_palette_has_8_bits_is_not_black() -> None:
    image = corners().quantize(4)
    colours = np.array(image.getpalette()).reshape(-1, 3)
    data = encoded(image, "TIFF")
    padded = np.zeros((256, 3), int)
    padded[: len(colours)] = colours
    map_of = struct.Struct("<768H")
    usual = map_of.pack(*padded.T.ravel() * 256)
    assert usual in data
    assert same(shown(data.replace(usual, map_of.pack(*padded.T.ravel()))), image.convert("RGB"))


def test_a_palette_with_transparency_keeps_it() -> None:
    colours = chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
    data = png(3, 1, 8, 3, [bytes([0, 1, 2])], colours, chunk(b"tRNS", bytes([0, 128])))
    assert pixels(shown(data)) == [(255, 0, 0, 0), (0, 255, 0, 128), (0, 0, 255, 255)]
    gif = encoded(corners().quantize(8), "GIF", transparency=3)
    assert shown(gif).mode == "RGBA"


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_and_bilevel_become_colour_modes(mode: str) -> None:
    image = corners("L").convert(mode)
    if mode == "LA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert same(shown(encoded(image, "PNG")), image.convert("RGBA" if mode == "LA" else "RGB"))
