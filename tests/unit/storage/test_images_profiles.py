"""Images with a colour profile are converted to sRGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import chunk, cmyk_profile, corners, encoded, gray_profile, matrix_profile, png
from tests.unit.storage.decoded import LOSSLESS, SRGB, pixels, same, shown, unreadable


def test_a_wide_gamut_profile_is_converted() -> None:
    p3 = matrix_profile(2.2, wide=True)
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (200, 120, 60, 17))
    image.putpixel((1, 0), (255, 255, 255, 255))
    found = pixels(shown(encoded(image, "PNG", icc_profile=p3)))
    red, green, blue, alpha = found[0]
    assert red > 205 and green < 120 and blue < 55 and alpha == 17, "P3's red is more red than sRGB's"
    assert min(found[1][:3]) >= 254 and max(found[2][:3]) <= 1


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_an_srgb_profile_changes_no_pixel(form: str) -> None:
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    assert same(shown(encoded(image, form, icc_profile=SRGB, **LOSSLESS[form])), image)


def test_a_profile_is_judged_by_what_it_does_and_not_by_its_name() -> None:
    linear = matrix_profile(1.0, wide=False, name="sRGB-elle-V2-g10.icc")
    image = shown(encoded(Image.new("RGB", (1, 1), (55, 55, 55)), "PNG", icc_profile=linear))
    assert pixels(image)[0][0] == pytest.approx(128, abs=2)


def test_a_gray_profile_is_converted() -> None:
    gray = Image.new("LA", (2, 1), (55, 9))
    gray.putpixel((1, 0), (255, 255))
    found = pixels(shown(encoded(gray, "PNG", icc_profile=gray_profile(1.0))))
    assert found[0][0] == found[0][1] == found[0][2] == pytest.approx(128, abs=2)
    assert (found[0][3], found[1]) == (9, (255, 255, 255, 255))
    wide = Image.fromarray(np.full((1, 1), 55 * 257, np.uint16))
    assert pixels(shown(encoded(wide, "PNG", icc_profile=gray_profile(1.0)))) == [found[0][:3]]


def test_profiles_that_do_not_fit_their_image() -> None:
    image = corners()
    assert same(shown(encoded(image, "PNG", icc_profile=gray_profile(1.0))), image), "says nothing of colours"
    gray = corners("L")
    assert same(shown(encoded(gray, "PNG", icc_profile=SRGB)), gray.convert("RGB"))
    for wrong in (cmyk_profile(), b"nonsense", b"", SRGB[:200]):
        data = encoded(image, "PNG", icc_profile=wrong or None)
        if wrong:
            assert "its ICC profile can't be applied" in unreadable(data)


def test_cmyk_is_converted_through_its_profile() -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, colour in inks.items():
        data = encoded(Image.new("CMYK", (8, 8), ink), "JPEG", icc_profile=cmyk_profile(), quality=100)
        image = shown(data)
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image).astype(int) - colour).max() <= 3
    magenta = encoded(Image.new("CMYK", (8, 8), (0, 255, 0, 0)), "TIFF", icc_profile=cmyk_profile())
    red, green, blue = pixels(shown(magenta))[0]
    assert red > blue > green


def test_cmyk_without_a_profile_of_its_own_is_refused() -> None:
    image = Image.new("CMYK", (8, 8), (10, 20, 30, 40))
    assert "CMYK without an ICC profile" in unreadable(encoded(image, "JPEG"))
    for profile in (SRGB, gray_profile(2.2)):
        assert "ICC profile can't be applied" in unreadable(encoded(image, "JPEG", icc_profile=profile))


GAMMA, PRIMARIES = struct.pack(">I", 45_455), (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
P3 = (31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ([(b"gAMA", struct.pack(">I", 100_000))], "has a gamma of 1 and no ICC profile; convert it to sRGB"),
        ([(b"gAMA", GAMMA), (b"cHRM", struct.pack(">8I", *P3))], "has the primaries of its cHRM chunk"),
        ([(b"cICP", bytes([9, 16, 0, 1]))], "has the colour space of its cICP chunk (9/16: wide or HDR)"),
        ([(b"gAMA", GAMMA), (b"cHRM", struct.pack(">8I", *PRIMARIES))], ""),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))], ""),
        ([(b"cICP", bytes([1, 13, 0, 1]))], ""),
    ],
)
def test_a_png_that_is_of_other_colours_without_a_profile_is_refused(
    extra: list[tuple[bytes, bytes]], words: str
) -> None:
    data = png(1, 1, 8, 2, [b"\x80\x3c\xc8"], *(chunk(kind, content) for kind, content in extra))
    if words:
        assert words in unreadable(data)
    else:
        assert shown(data).getpixel((0, 0)) == (128, 60, 200)
