"""What says that an image is whole, and what is said of files that are none."""

from __future__ import annotations

import io
import json
import os
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from mira_batch.imaging.png_data import drop_texts
from mira_batch.inspect.facts import read_header
from tests.support.pictures import chunk, corners, encoded, matrix_profile, png, tiff
from tests.unit.storage.decoded import shown, unreadable

NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (75, 101, 3), np.uint8))
FORMS: list[dict[str, Any]] = [
    {},
    {"quality": 100, "subsampling": 0},
    {"quality": 5},
    {"progressive": True},
    {"optimize": True, "subsampling": 2},
    {"restart_marker_blocks": 1},
    {"restart_marker_rows": 1},
    {"progressive": True, "restart_marker_rows": 2},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_whole_jpeg_is_taken(form: dict[str, Any], mode: str) -> None:
    for size in ((1, 1), (8, 8), (17, 9), (101, 75)):
        image = NOISE.resize(size).convert(mode)
        data = encoded(image, "JPEG", **form)
        expected = Image.open(io.BytesIO(data)).convert("RGB").tobytes()
        for more in (data, data + b"trailing bytes", data[:-2] + b"\xff\xff\xff\xd9"):
            assert shown(more).tobytes() == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_ends_properly_but_too_early_is_refused(form: dict[str, Any], mode: str) -> None:
    data = encoded(NOISE.convert(mode), "JPEG", **form)
    for part in (0.6, 0.8, 0.95):
        assert "is damaged: " in unreadable(data[: int(part * len(data))] + b"\xff\xd9")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "AVIF"])
def test_half_a_file_is_refused_also_where_a_model_s_code_has_pillow_take_it(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As scripts that train models have it."""
    data = encoded(NOISE, form)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "damaged" in unreadable(data[: len(data) // 2])


def test_a_camera_file_whose_picture_is_cut_short_is_refused() -> None:
    data = encoded(NOISE, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert shown(data).size == NOISE.size
    end = data.index(b"\xff\xd9")
    assert "its data end before the picture does" in unreadable(data[: end // 2] + data[end:])


def test_a_png_of_which_some_is_zeroed_is_refused() -> None:
    """Pillow finds other pixels there, and no fault."""
    data = encoded(NOISE, "PNG")
    for place in range(60, len(data) - 70, 1500):
        found = unreadable(data[:place] + bytes(50) + data[place + 50 :])
        assert "is damaged: " in found
    assert "the checksum of its chunk IDAT at byte" in unreadable(data[:-70] + bytes(40) + data[-30:])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_texts_of_a_png_may_be_as_long_as_they_like(packed: bool, after: bool) -> None:
    workflow = json.dumps({"nodes": "prompt " * 1_500_000})
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", workflow, zip=packed)
    text.add_itxt("prompt", workflow, zip=packed)
    for number in range(7):
        text.add_text(f"more {number}", workflow, zip=packed)
    data = encoded(corners(), "PNG", pnginfo=text)
    if after:  # behind the pixels, where Pillow reads it last
        begin, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
        head = data[: data.index(b"tEXt" if not packed else b"zTXt") - 4]
        data = head + data[begin:end] + data[len(head) : begin] + data[end:]
    assert shown(data).tobytes() == corners().tobytes()
    assert read_header(data)["format"] == "PNG"
    assert len(drop_texts(data)) < 1_000


def test_a_text_with_a_wrong_checksum_spoils_no_png() -> None:
    data = png(1, 1, 8, 2, [b"\x10\x20\x30"], chunk(b"tEXt", b"a\0b")[:-1] + b"?")
    assert shown(data).getpixel((0, 0)) == (16, 32, 48)


def test_a_text_that_says_which_way_is_up_is_heeded() -> None:
    for zipped in (False, True):
        text = PngImagePlugin.PngInfo()
        text.add_text("workflow", "x" * 2_000_000, zip=True)
        xmp = f'<x:xmpmeta tiff:Orientation="6">{"history " * 300_000}</x:xmpmeta>'
        text.add_itxt("XML:com.adobe.xmp", xmp, zip=zipped)
        assert shown(encoded(corners(size=(6, 4)), "PNG", pnginfo=text)).size == (4, 6)


def test_a_large_profile_is_applied() -> None:
    profile = matrix_profile(1.8, wide=True)
    large = profile + bytes(3_000_000)
    large = struct.pack(">I", len(large)) + large[4:]
    assert shown(encoded(corners(), "PNG", icc_profile=large)).tobytes() == (
        shown(encoded(corners(), "PNG", icc_profile=profile)).tobytes()
    )


def test_a_broken_profile_is_told_from_a_damaged_image() -> None:
    for profile in (b"no profile at all", matrix_profile(1.8, wide=True)[:200]):
        for form in ("PNG", "JPEG"):
            found = unreadable(encoded(corners(), form, icc_profile=profile))
            assert "its ICC profile can't be applied, being broken" in found
            assert "convert the image to sRGB and remove it" in found
    unpacked = chunk(b"iCCP", b"name\0\0" + b"this is not zlib")
    found = unreadable(png(1, 1, 8, 2, [b"\x10\x20\x30"], unpacked))
    assert "its ICC profile is broken: it can't be unpacked; embed the right one" in found


def box(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + brand + b"mif1" + bytes(100)


@pytest.mark.parametrize(
    ("data", "what", "cure"),
    [
        (b"", "empty (0 bytes)", "copy or upload it again"),
        (bytes(5_000), "5,000 zero bytes", "copy or upload it again"),
        (box(b"heic"), "HEIC, but damaged", "copy or export it again"),
        (box(b"mif1"), "HEIC, but damaged", "copy or export it again"),
        (box(b"crx "), "a camera's raw file (CR3)", "develop it"),
        (box(b"mp42"), "a video", "export the frame"),
        (box(b"qt  "), "a video", "export the frame"),
        (b"\x1aE\xdf\xa3" + bytes(50), "a video (WebM", "export the frame"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)", "name an image"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "render it to PNG"),
        (b"<svg width='3'></svg>", "SVG", "render it to PNG"),
        (b"<!DOCTYPE html><html>please log in</html>", "HTML ('<!DOCTYPE html>", "check its path and your"),
        (b"\xef\xbb\xbf\r\n<HTML><body>404", "HTML", "open the URI"),
        (
            b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
            "an error of the store (AccessDenied)",
            "check the URI and your access",
        ),
        (b'<?xml version="1.0"?><feed>x</feed>', "XML", "check its path"),
        (b'{"error": "not found"}', """JSON ('{"error": "not found"}')""", "check its path"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
            "a pointer of Git LFS",
            "git lfs pull",
        ),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF", "export the page"),
        (b"8BPS\0\1" + bytes(30), "a Photoshop document (PSD)", "export it"),
        (b"\xff\x0a" + bytes(30), "JPEG XL", "convert it"),
        (b"\x00\x00\x00\x0cjP  \r\n", "JPEG 2000", "convert it"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive", "unpack it"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data: URI written as text", "decode its base64"),
        ("grüße\n".encode(), "text ('grüße')", "check the path"),
        (b"\xff\xd8\xff" + b"\x01" * 30, "JPEG by its first bytes, but damaged", "copy or export it again"),
    ],
)
def test_what_is_no_image_is_named_and_what_to_do(data: bytes, what: str, cure: str) -> None:
    found = unreadable(data)
    assert f"it is {what}" in found and cure in found
    assert "\n" not in found and "is not an image that can be read (PNG, JPEG" in found


def test_what_is_nothing_known_is_refused_in_short() -> None:
    assert unreadable(b"\x01" + os.urandom(200)).endswith(("GIF, AVIF)", "GIF, AVIF, HEIF)"))


def test_a_raw_file_in_the_form_of_a_tiff_is_not_its_preview() -> None:
    plain = tiff(2, 2, 8, 1, b"\x00\x40\x80\xff")
    assert shown(plain).size == (2, 2)
    dng = Image.open(io.BytesIO(plain))
    for tag, value in ((50706, b"\1\4\0\0"), (254, 1)):
        buffer = io.BytesIO()
        info: Any = {tag: value}
        dng.save(buffer, "TIFF", tiffinfo=info)
        assert "is a camera's raw file, or holds a small preview first" in unreadable(buffer.getvalue())


def test_a_file_that_ends_too_early_says_so() -> None:
    for form in ("JPEG", "PNG", "TIFF"):
        data = encoded(NOISE, form)
        found = unreadable(data[: len(data) // 2])
        assert "is damaged: it ends too early" in found and found.endswith("copy or export it again"), form


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
def test_a_file_that_ends_in_a_hole_is_refused(form: str) -> None:
    """Its decoder would make a picture of it."""
    data = encoded(NOISE, form)
    assert shown(data).size == NOISE.size
    kept = len(data) * 2 // 3
    assert len(data) - kept >= 1024
    assert "its end is nothing but zeros, as of a file half written" in unreadable(
        data[:kept] + bytes(len(data) - kept)
    )
