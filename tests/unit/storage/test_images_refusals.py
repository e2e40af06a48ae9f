"""Images that are refused, and that any bytes give an image or a record's error."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from mira_batch.config.edit import InputConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.storage.images import decode
from tests.support.pictures import (
    SIGNATURE,
    chunk,
    cmyk_profile,
    corners,
    encoded,
    gray_profile,
    matrix_profile,
    png,
    tiff,
)
from tests.unit.storage.decoded import LEVELS, LOSSLESS, SRGB, refused, shown, unreadable


def test_depths_without_an_exact_form_are_refused() -> None:
    assert "pixel mode F" in unreadable(encoded(Image.new("F", (2, 2), 0.5), "TIFF"))
    assert "pixel mode I " in unreadable(encoded(Image.new("I", (2, 2), 70_000), "TIFF"))
    assert "pixel mode I " in unreadable(encoded(Image.new("I", (2, 2), 200), "TIFF")), "whatever the values"
    assert "pixel mode LAB" in unreadable(encoded(Image.new("LAB", (2, 2)), "TIFF"))
    assert "12 bits per pixel" in unreadable(tiff(2, 1, 12, 1, b"\xff\xff\xff"))


def in_planes(bits: int) -> bytes:
    """A TIFF of 2 x 1 pixels of RGB, uncompressed, each colour in a strip of its own."""
    size = bits // 4
    lists = struct.pack("<3H3I3I", bits, bits, bits, *(8 + size * i for i in range(3)), size, size, size)
    at = 8 + 3 * size
    tags = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 3, at + 6), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 3, at + 18), (284, 3, 1, 2)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    pixels = b"".join(bytes([level]) * size for level in (200, 100, 50))
    return b"II*\0" + struct.pack("<I", at + len(lists)) + pixels + lists + directory


def test_uncompressed_planes_of_16_bits_are_refused() -> None:
    """Pillow would take each byte for a pixel."""
    assert np.asarray(shown(in_planes(8)))[0].tolist() == [[200, 100, 50]] * 2
    assert "16 bits in uncompressed planes; save it" in unreadable(in_planes(16))


def test_a_kind_of_tiff_that_is_not_read_is_not_only_called_damaged() -> None:
    assert "damaged, or of a kind that isn't read; copy" in unreadable(tiff(2, 1, 32, 0, bytes(8)))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_are_refused(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), (i * 80, 0, 0)) for i in range(3)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert "has 3 frames" in unreadable(data)


def test_a_camera_file_with_previews_is_its_one_picture() -> None:
    data = encoded(corners(size=(32, 32)), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert shown(data).size == (32, 32)


def test_what_is_no_image_is_refused() -> None:
    for data in (b"", b"\0", b"hello", b"<html>404 Not Found</html>", os.urandom(4096)):
        assert "is not an image that can be read (PNG, JPEG" in unreadable(data)


def test_other_formats_of_pillow_are_not_offered() -> None:
    image = corners()
    for form in ("PPM", "TGA", "PCX", "ICO", "EPS", "PDF", "JPEG2000", "SGI", "DDS"):
        assert "is not an image that can be read" in unreadable(encoded(image, form))
    for text in ("<svg xmlns='http://www.w3.org/2000/svg'/>", "%!PS-Adobe-3.0 EPSF-3.0\n", "%PDF-1.7\n"):
        assert "is not an image that can be read" in unreadable(text.encode())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_truncated_image_is_refused(form: str) -> None:
    data = encoded(Image.effect_noise((64, 64), 90).convert("RGB"), form)
    for length in (len(data) // 4, len(data) // 2, len(data) * 9 // 10):
        kind, _ = refused(data[:length])
        assert kind is ErrorKind.image_unreadable


def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", b"no pixels here") + chunk(b"IEND", b"")
    kind, _ = refused(data)
    assert kind is ErrorKind.image_too_large


@pytest.mark.parametrize("side", [8_000, 10_000, 30_000])
def test_a_real_bomb_is_refused(side: int) -> None:
    """Above our own bound, above the one where Pillow warns, and above the one where Pillow refuses."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    idat = b"".join([*(packer.compress(row * 100) for _ in range(side // 100)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    assert len(data) < 200_000
    kind, text = refused(data)
    assert kind is ErrorKind.image_too_large
    if side == 8_000:
        assert "8000 x 8000 is more than 50,000,000 pixels; raise input.max_pixels to admit it" in text


def test_pixels_are_counted_exactly() -> None:
    source = InputConfig(manifest="/m.csv", max_pixels=24)
    assert shown(encoded(corners(), "PNG"), source).size == (6, 4)
    kind, text = refused(encoded(corners(size=(5, 5)), "PNG"), source)
    assert kind is ErrorKind.image_too_large and "5 x 5 is more than 24 pixels" in text


FILES = [
    encoded(corners(size=(9, 7)), form, **LOSSLESS.get(form, {}))
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
]
EXIF = Image.Exif()
EXIF[0x112] = 5
EXIF[0x10F] = "maker"
FILES += [
    encoded(corners(), "JPEG", exif=EXIF, icc_profile=matrix_profile(1.8, wide=True)),
    encoded(corners("RGBA"), "PNG", exif=EXIF, icc_profile=SRGB),
    encoded(corners("CMYK"), "TIFF", icc_profile=cmyk_profile(), tiffinfo={0x112: 7}),
    encoded(corners(), "TIFF", compression="tiff_lzw"),
    encoded(corners().quantize(4), "GIF", transparency=1),
    encoded(corners().quantize(4), "PNG", transparency=b"\0\x80"),
    encoded(Image.fromarray(LEVELS), "PNG", transparency=1),
    encoded(corners(), "MPO", save_all=True, append_images=[corners()]),
    encoded(corners("L"), "PNG", icc_profile=gray_profile(1.8)),
]
SMALL = InputConfig(manifest="/m.csv", max_pixels=1_000_000)


def check_decodes_or_refuses(data: bytes) -> None:
    try:
        image = decode(data, "pic", SMALL)
    except RecordError as error:
        assert error.kind in (ErrorKind.image_unreadable, ErrorKind.image_too_large)
        assert str(error).startswith("pic: ")
    else:
        assert image.mode in ("RGB", "RGBA") and image.width * image.height <= SMALL.max_pixels


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"RIFF", b"BM"]), st.binary()
)
def test_any_bytes_give_an_image_or_a_record_error(start: bytes, rest: bytes) -> None:
    check_decodes_or_refuses(start + rest)


@settings(deadline=None, max_examples=1_000)
@given(st.data())
def test_any_damage_gives_an_image_or_a_record_error(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(FILES)))
    for _ in range(draw.draw(st.integers(1, 6))):
        place = draw.draw(st.integers(0, len(data) - 1))
        kind = draw.draw(st.sampled_from(["set", "drop", "insert"]))
        match kind:
            case "set":
                data[place] = draw.draw(st.integers(0, 255))
            case "drop":
                del data[place : place + draw.draw(st.integers(1, 20))]
            case "insert":
                data[place:place] = draw.draw(st.binary(min_size=1, max_size=8))
        if not data:
            break
    check_decodes_or_refuses(bytes(data))


def test_an_image_beyond_any_bound_is_told_what_the_bound_is() -> None:
    for side in (11_000, 40_000):  # above what may be configured, and above what Pillow opens
        kind, text = refused(png(side, side, 1, 0, []))
        assert kind is ErrorKind.image_too_large
        assert "than 50,000,000 pixels; scale it down first: input.max_pixels admits 89,478,485 at m" in text
    InputConfig(manifest="/m.csv", max_pixels=89_478_485)
    with pytest.raises(ValidationError):
        InputConfig(manifest="/m.csv", max_pixels=89_478_486)
    assert refused(png(8_000, 8_000, 1, 0, []))[1].endswith("raise input.max_pixels to admit it")
