"""What images of every mode become, pixel by pixel: those that an editor returns have no file around."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from mira_batch.imaging import UnfitImage, refuse_frames, to_srgb

GLASS = Image.new("RGBA", (2, 1), (200, 100, 50, 128))
LEVELS = np.array([[0, 128, 129, 255, 256, 40_000, 65_406, 65_407, 65_535]], np.uint16)
SCALED = [0, 0, 1, 1, 1, 156, 254, 255, 255]
"""The same by 255/65535, rounded."""


def deep(mode: str) -> Image.Image:
    order = ">u2" if mode.endswith("B") else "<u2"
    return Image.frombytes(mode, (LEVELS.size, 1), LEVELS.astype(order).tobytes())


def palette_with_alpha() -> Image.Image:
    """A palette of RGBA colours, as `quantize` makes it, with nothing said of transparency."""
    image = GLASS.quantize(4)
    assert image.mode == "P" and "transparency" not in image.info
    return image


def keyed(mode: str, colour: Any, key: Any) -> Image.Image:
    image = Image.new(mode, (1, 1), colour)
    image.info["transparency"] = key
    return image


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_sixteen_bits_are_scaled_to_eight(mode: str) -> None:
    found = to_srgb(deep(mode))
    assert found.mode == "RGB"
    assert np.asarray(found)[0].tolist() == [[level] * 3 for level in SCALED]


def test_a_transparent_gray_of_sixteen_bits_is_the_one_that_is_named() -> None:
    image = deep("I;16")
    image.info["transparency"] = 40_000
    found = to_srgb(image)
    assert found.mode == "RGBA"
    assert np.asarray(found)[0, :, 3].tolist() == [0 if level == 40_000 else 255 for level in LEVELS[0]]


@pytest.mark.parametrize(
    ("image", "mode", "pixel"),
    [
        (Image.new("1", (1, 1), 1), "RGB", (255, 255, 255)),
        (Image.new("L", (1, 1), 77), "RGB", (77, 77, 77)),
        (Image.new("LA", (1, 1), (77, 9)), "RGBA", (77, 77, 77, 9)),
        (Image.new("LA", (1, 1), (77, 255)).convert("La"), "RGBA", (77, 77, 77, 255)),
        (Image.new("RGBX", (1, 1), (1, 2, 3, 4)), "RGB", (1, 2, 3)),
        (GLASS, "RGBA", (200, 100, 50, 128)),
        (GLASS.convert("RGBa"), "RGBA", (199, 99, 49, 128)),
        (palette_with_alpha(), "RGBA", (200, 100, 50, 128)),
        (Image.new("RGB", (1, 1), (9, 8, 7)).quantize(2), "RGB", (9, 8, 7)),
        (keyed("P", 0, 0), "RGBA", (0, 0, 0, 0)),
        (keyed("L", 5, 5), "RGBA", (5, 5, 5, 0)),
        (keyed("RGB", (1, 2, 3), (1, 2, 3)), "RGBA", (1, 2, 3, 0)),
        (keyed("RGB", (1, 2, 3), (9, 9, 9)), "RGBA", (1, 2, 3, 255)),
        (Image.new("YCbCr", (1, 1), (120, 128, 128)), "RGB", (120, 120, 120)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_modes_that_have_a_form_in_rgb(image: Image.Image, mode: str, pixel: tuple[int, ...]) -> None:
    found = to_srgb(image)
    assert (found.mode, found.getpixel((0, 0)), found.info) == (mode, pixel, {})


@pytest.mark.parametrize("mode", ["I", "F", "LAB", "HSV", "CMYK"])
def test_modes_that_have_none_are_refused(mode: str) -> None:
    with pytest.raises(UnfitImage, match=mode):
        to_srgb(Image.new(mode, (2, 2)))


def test_numbers_that_are_none_are_refused() -> None:
    for value in (float("nan"), float("inf"), -1.0, 0.5):
        with pytest.raises(UnfitImage, match="pixel mode F has no exact form"):
            to_srgb(Image.fromarray(np.full((2, 2), value, np.float32)))


def test_a_profile_and_an_orientation_count() -> None:
    """Whoever opened a file, its colours and its side up are what its metadata says."""
    image = Image.new("RGB", (2, 1), (200, 100, 50))
    image.putpixel((0, 0), (1, 2, 3))
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    image.info["exif"] = exif.tobytes()
    found = to_srgb(image)
    assert found.size == (1, 2) and found.info == {}
    assert [found.getpixel((0, y)) for y in range(2)] == [(1, 2, 3), (200, 100, 50)]
    image.info["icc_profile"] = b"no profile"
    with pytest.raises(UnfitImage, match="ICC profile"):
        to_srgb(image)


def test_what_is_converted_already_is_not_copied() -> None:
    image = Image.new("RGB", (2, 2), "red")
    found = to_srgb(image)
    assert found.im is image.im and found.readonly
    assert image.readonly == 0


def test_several_frames_are_refused() -> None:
    buffer = io.BytesIO()
    GLASS.save(buffer, "PNG", save_all=True, append_images=[Image.new("RGBA", (2, 1))])
    with pytest.raises(UnfitImage, match="2 frames"):
        refuse_frames(Image.open(buffer))
    refuse_frames(GLASS)
