from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mira_batch.config.edit import InputConfig, OutputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.pixels import encode_png
from mira_batch.core.types import ErrorKind
from mira_batch.storage.images import check_allowed, decode, encode, fetch
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
from tests.support.servers.s3 import S3Server

SOURCE = InputConfig(manifest="/data/manifest.jsonl")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def shown(data: bytes, source: InputConfig = SOURCE) -> Image.Image:
    image = decode(data, "pic", source)
    assert image.mode in ("RGB", "RGBA")
    assert image.info == {} and not image.getexif()
    return image


def pixels(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(map(int, pixel)) for row in np.asarray(image) for pixel in row]


def refused(data: bytes, source: InputConfig = SOURCE) -> tuple[ErrorKind, str]:
    with pytest.raises(RecordError) as error:
        decode(data, "pic", source)
    text = str(error.value)
    assert text.startswith("pic: ") and len(text) < 400
    return error.value.kind, text


def unreadable(data: bytes) -> str:
    kind, text = refused(data)
    assert kind is ErrorKind.image_unreadable
    return text


def same(left: Image.Image, right: Image.Image) -> bool:
    return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "TIFF": {}, "BMP": {}}


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


def test_orientation_and_alpha_and_16_bits_go_together() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    rgba = corners("RGBA")
    rgba.putpixel((3, 3), (1, 2, 3, 4))
    assert same(shown(encoded(rgba.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)), rgba)
    wide = Image.fromarray(np.arange(0, 65536, 257, dtype=np.uint16).reshape(8, 32))
    upright = shown(encoded(wide, "PNG"))
    assert same(shown(encoded(wide.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)), upright)


LEVELS = np.array([[0, 1, 128, 129, 257, 32768, 65406, 65535]], dtype=np.uint16)
AT_8_BITS = [0, 0, 0, 1, 1, 128, 254, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_and_not_cut(form: str) -> None:
    image = shown(encoded(Image.fromarray(LEVELS), form))
    assert pixels(image) == [(v, v, v) for v in AT_8_BITS]


def test_16_bit_gray_tiff_with_white_as_zero_is_no_negative() -> None:
    image = shown(tiff(8, 1, 16, 0, LEVELS.tobytes()))
    assert [pixel[0] for pixel in pixels(image)] == [255 - v for v in AT_8_BITS]
    assert [pixel[0] for pixel in pixels(shown(tiff(2, 1, 8, 0, b"\0\xff")))] == [255, 0]


def test_16_bit_colour_is_scaled() -> None:
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


def test_depths_without_an_exact_form_are_refused() -> None:
    assert "pixel mode F" in unreadable(encoded(Image.new("F", (2, 2), 0.5), "TIFF"))
    assert "pixel mode I " in unreadable(encoded(Image.new("I", (2, 2), 70_000), "TIFF"))
    assert "pixel mode I " in unreadable(encoded(Image.new("I", (2, 2), 200), "TIFF")), "whatever the values"
    assert "pixel mode LAB" in unreadable(encoded(Image.new("LAB", (2, 2)), "TIFF"))
    assert "12 bits per pixel" in unreadable(tiff(2, 1, 12, 1, b"\xff\xff\xff"))


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


def allowed(uri: str, *allow: str) -> bool:
    try:
        check_allowed(uri, allow)
    except RecordError as error:
        assert error.kind is ErrorKind.image_forbidden
        return False
    return True


def test_images_below_an_allowed_prefix() -> None:
    assert allowed("s3://bucket/images/a/b.png", "s3://bucket/images")
    assert allowed("s3://bucket/images/b.png", "s3://other", "s3://bucket/images/")
    assert allowed("s3://bucket/any.png", "s3://bucket")
    assert allowed("s3://bucket/images/50%25 off.png", "s3://bucket/images")
    assert allowed("s3://bucket/images/..png/a...b", "s3://bucket/images"), "dots in a name are no '..'"
    assert allowed("/data/images/a.png", "/data/images")
    assert allowed("/data/images/a.png", "/")


@pytest.mark.parametrize(
    "uri",
    [
        "/data/images-evil/a.png",
        "/data/imagesa.png",
        "/data",
        "/data/images/../secret.png",
        "/data/images/..",
        "/data/images/a/../../secret.png",
        "/data/images/a\\..\\..\\secret.png",
        "/data/images/a\0.png",
        "s3://data/images/a.png",
        "local:///data/images/a.png",
        "file:///data/images/a.png",  # `rows.resolve` makes such URIs plain paths
        "simplecache::/data/images/a.png",
        "filecache::s3://bucket/a.png",
        "",
    ],
)
def test_local_paths_outside_the_prefix(uri: str) -> None:
    assert not allowed(uri, "/data/images")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/images-evil/a.png",
        "s3://bucket-evil/images/a.png",
        "S3://bucket/images/a.png",
        "s3a://bucket/images/a.png",
        "gs://bucket/images/a.png",
        "https://bucket/images/a.png",
        "/bucket/images/a.png",
        "s3://bucket/images/../secret.png",
        "s3://bucket/images/%2e%2e/secret.png",
        "s3://bucket/images/%2E./secret.png",
        "s3://bucket/images/..%2fsecret.png",
        "s3://bucket/images/..%5csecret.png",
        "s3://bucket/images/a%00.png",
        "s3://bucket/images/zip://a.png::s3://bucket/images/b.zip",
    ],
)
def test_remote_uris_outside_the_prefix(uri: str) -> None:
    assert not allowed(uri, "s3://bucket/images")


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "images" / "inside.png").write_bytes(b"x")
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "images" / "dir").symlink_to(tmp_path)
    (tmp_path / "images" / "near.png").symlink_to("inside.png")
    (tmp_path / "alias").symlink_to(tmp_path / "images")
    prefix = str(tmp_path / "images")
    assert not allowed(f"{prefix}/link.png", prefix)
    assert not allowed(f"{prefix}/dir/secret.png", prefix)
    assert allowed(f"{prefix}/near.png", prefix)
    assert allowed(f"{prefix}/inside.png", str(tmp_path / "alias")), "the prefix itself may be a link"
    assert allowed(str(tmp_path / "alias" / "inside.png"), prefix)


def fetched(source: InputConfig, uri: str) -> bytes | tuple[ErrorKind, str]:
    try:
        return fetch(uri, source, StorageConfig())
    except RecordError as error:
        return error.kind, str(error)


def test_fetch_local_files(tmp_path: Path) -> None:
    source = InputConfig(manifest=str(tmp_path / "m.jsonl"), max_bytes=10)
    for size in (0, 10, 11):
        (tmp_path / str(size)).write_bytes(b"x" * size)
    assert fetched(source, str(tmp_path / "0")) == b""
    assert fetched(source, str(tmp_path / "10")) == b"x" * 10
    assert fetched(source, str(tmp_path / "11")) == (
        ErrorKind.image_too_large,
        f"{tmp_path}/11: more than 10 bytes; raise input.max_bytes to admit it",
    )
    missing = f"{tmp_path}/missing.png"
    assert fetched(source, missing) == (ErrorKind.image_unreadable, f"{missing}: no such file")
    for path in (str(tmp_path), f"{tmp_path}/{'long' * 100}"):
        found = fetched(source, path)
        assert found[0] is ErrorKind.image_unreadable
    for path in (f"{tmp_path}/a\0b", "/etc/hostname"):
        found = fetched(source, path)
        assert found[0] is ErrorKind.image_forbidden


@pytest.mark.s3
def test_fetch_from_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    strange = "fetch/a b+c%20ü&=?#;.png"
    for key, body in {strange: b"strange", "fetch/large": b"x" * 1000, "fetch/empty": b""}.items():
        client.put_object(Bucket=s3.bucket, Key=key, Body=body)
    source = InputConfig(manifest=f"s3://{s3.bucket}/fetch/m.jsonl", max_bytes=999)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    assert fetch(f"s3://{s3.bucket}/{strange}", source, storage) == b"strange"
    for name, kind, text in [
        ("large", ErrorKind.image_too_large, "more than 999 bytes"),
        ("missing", ErrorKind.image_unreadable, "no such file"),
        ("", ErrorKind.image_unreadable, "fetch/"),
        ("empty", ErrorKind.image_unreadable, "fetch/empty"),
    ]:
        with pytest.raises(RecordError, match=text) as error:
            fetch(f"s3://{s3.bucket}/fetch/{name}", source, storage)
        assert error.value.kind is kind
    with pytest.raises(RecordError, match="outside input.allow"):
        fetch("s3://elsewhere/fetch/a", source, storage)


def output(**settings: object) -> OutputConfig:
    return OutputConfig.model_validate({"uri": "/out"} | settings)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("form", [{"format": "png"}, {"format": "webp", "quality": 100}])
def test_lossless_forms_are_lossless(mode: str, form: dict[str, object]) -> None:
    image = corners(mode)
    if mode == "RGBA":
        image.putpixel((1, 1), (77, 88, 99, 0))
    assert same(shown(encode(image, output(**form))), image)


def test_png_is_the_form_of_the_step_log() -> None:
    assert encode(corners(), output(format="png", quality=1)) == encode_png(corners())


@pytest.mark.parametrize("form", ["webp", "jpeg"])
def test_quality_counts(form: str) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    small, large = (len(encode(noise, output(format=form, quality=q))) for q in (10, 95))
    assert small < large


def test_jpeg_shows_the_background_through_what_is_transparent() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    clear = shown(encode(image, output(format="jpeg", background="#0000FF", quality=100)))
    assert np.abs(np.asarray(clear).astype(int) - (0, 0, 255)).max() <= 3
    half = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    mixed = shown(encode(half, output(format="jpeg", quality=100)))
    assert np.abs(np.asarray(mixed).astype(int) - (255, 127, 127)).max() <= 4


@pytest.mark.parametrize(("form", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_what_a_format_cannot_hold_fails_its_record(form: str, side: int) -> None:
    with pytest.raises(RecordError, match=f"{side} x 1 image can't be written as {form}.*output.format png"):
        encode(Image.new("RGB", (side, 1)), output(format=form))
    assert Image.open(io.BytesIO(encode(Image.new("RGB", (side, 1)), output()))).size == (side, 1)
