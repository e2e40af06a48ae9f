"""Facts of an image, against values worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.inspect.facts import measure_pixels, measure_sharpness, measure_white_border, read_header
from tests.support.pictures import png

SOURCE = ManifestConfig(manifest="/m.jsonl")


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (encoded(Image.new("RGB", (3, 2))), ("PNG", "RGB", 8)),
        (encoded(Image.new("1", (3, 2))), ("PNG", "1", 1)),
        (encoded(Image.new("I;16", (3, 2))), ("PNG", "I;16", 16)),
        (encoded(Image.new("P", (3, 2))), ("PNG", "P", 1)),
        (png(1, 1, 16, 2, [b"\0" + bytes(6)]), ("PNG", "RGB", 16)),
        (encoded(Image.new("L", (3, 2)), "JPEG"), ("JPEG", "L", 8)),
        (encoded(Image.new("CMYK", (3, 2)), "JPEG"), ("JPEG", "CMYK", 8)),
        (encoded(Image.new("I;16", (3, 2)), "TIFF"), ("TIFF", "I;16", 16)),
        (encoded(Image.new("RGBA", (3, 2)), "WEBP"), ("WEBP", "RGBA", 8)),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_a_file_says(data: bytes, facts: tuple[str, str, int]) -> None:
    found = read_header(data)
    assert (found["format"], found["mode"], found["depth"]) == facts
    assert (found["bytes"], found["frames"], found["exif_orientation"]) == (len(data), 1, 1)
    assert "icc_profile" not in found


def test_profile_orientation_and_frames() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = read_header(encoded(Image.new("RGB", (4, 3)), "JPEG", exif=exif, icc_profile=srgb.tobytes()))
    assert found["exif_orientation"] == 6 and "sRGB" in found["icc_profile"]
    frames = [Image.new("RGB", (2, 2), (i, 0, 0)) for i in (0, 100, 200)]
    assert read_header(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))["frames"] == 3
    exif[0x0112] = 77
    assert "exif_orientation" not in read_header(encoded(frames[0], "JPEG", exif=exif))
    broken = encoded(frames[0], "JPEG", icc_profile=b"no profile at all")
    assert read_header(broken)["icc_profile"] == "unreadable"


def test_nothing_is_decoded_of_an_image_with_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow looks for a PNG's EXIF behind its pixels too, and decodes these on the way."""
    data, loaded = encoded(Image.new("RGB", (30, 20))), list[tuple[int, int]]()
    load = PngImagePlugin.PngImageFile.load

    def note(image: PngImagePlugin.PngImageFile) -> object:
        loaded.append(image.size)
        return load(image)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", note)
    assert read_header(data, 30 * 20)["exif_orientation"] == 1 and loaded
    loaded.clear()
    found = read_header(data, 30 * 20 - 1)
    assert "exif_orientation" not in found and found["frames"] == 1 and not loaded


def test_exif_that_is_none_hides_no_other_fact() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.new("RGB", (3, 2)), exif=b"Exif\0\0junkjunk", icc_profile=profile)
    found = read_header(data)
    assert (found["frames"], found["exif_orientation"]) == (1, 1) and "sRGB" in found["icc_profile"]


@pytest.mark.parametrize("data", [b"", b"no image", encoded(Image.new("RGB", (9, 9)))[:40]])
def test_of_what_is_no_image_there_are_bytes_and_a_digest(data: bytes) -> None:
    found = read_header(data)
    assert found["bytes"] == len(data) and len(found["file_digest"]) == 32
    with pytest.raises(RecordError):
        measure_pixels(data, "a.png", SOURCE)


def test_pixels_are_measured_as_an_edit_would_see_them() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image = Image.new("RGBA", (4, 2), (255, 255, 255, 0))
    found = measure_pixels(encoded(image, exif=exif), "a.png", SOURCE)
    assert (found["width"], found["height"], found["pixels"], found["has_alpha"]) == (2, 4, 8, True)
    assert found["pixel_digest"] == frame_of(Image.new("RGBA", (2, 4), (255, 255, 255, 0))).digest
    assert (found["luminance"], found["white_border"], found["sharpness"]) == (1.0, 1.0, 0.0)
    same = (
        encoded(Image.new("RGB", (5, 5), (10, 20, 30)), "PNG"),
        encoded(Image.new("RGB", (5, 5), (10, 20, 30)), "TIFF"),
    )
    digests = {measure_pixels(data, "a", SOURCE)["pixel_digest"] for data in same}
    assert len(digests) == 1, "whatever file they came in"


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    spot = np.zeros((5, 5), np.uint8)
    spot[2, 2] = 10
    # Of the nine inner pixels one has 40, four have -10 and four 0: mean 0, variance (1600 + 400) / 9.
    assert measure_sharpness(Image.fromarray(spot)) == pytest.approx(2000 / 9)
    assert measure_sharpness(Image.new("L", (9, 9), 77)) == 0
    assert measure_sharpness(Image.new("L", (2, 900), 77)) == 0, "nothing has four neighbours"
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (2048, 64), dtype=np.uint8))
    assert measure_sharpness(noise) < 0.5 * measure_sharpness(noise.crop((0, 0, 64, 1024))), "scaled first"


def test_white_borders() -> None:
    picture = Image.new("RGB", (100, 100), "white")
    picture.paste((0, 0, 0), (10, 10, 90, 90))
    assert measure_white_border(picture) == 1.0
    picture.paste((0, 0, 0), (0, 0, 100, 2))  # the upper border of 100 x 2 of 100² - 96² = 784 pixels
    assert measure_white_border(picture) == pytest.approx(1 - 200 / 784)
    assert measure_white_border(Image.new("RGB", (30, 30), (249, 255, 255))) == 0
    assert measure_white_border(Image.new("RGBA", (1, 1), (0, 0, 0, 0))) == 1
    assert measure_white_border(Image.new("RGB", (2, 1), (250, 250, 250))) == 1
