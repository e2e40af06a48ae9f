"""The size a trajectory is edited at, and the way there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mira_batch.models.diffusion.canvas import MAX_RATIO, choose_canvas, fit, restore

MEGAPIXEL = 1024 * 1024
sides = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((1024, 1024), (1024, 1024)),
        ((400, 400), (1024, 1024)),
        ((3000, 2000), (1248, 832)),
        ((2000, 3000), (832, 1248)),
        ((1920, 1080), (1376, 768)),
    ],
)
def test_the_canvas_has_the_images_shape_and_the_area_asked_for(
    size: tuple[int, int], canvas: tuple[int, int]
) -> None:
    assert choose_canvas(size, MEGAPIXEL, 32) == canvas


@given(sides, sides, st.sampled_from([4096, 512 * 512, MEGAPIXEL]), st.sampled_from([8, 16, 32]))
def test_any_image_has_a_canvas_near_its_shape_and_area(
    width: int, height: int, area: int, step: int
) -> None:
    wide, high = choose_canvas((width, height), area, step)
    assert wide % step == high % step == 0
    assert min(wide, high) >= step
    ratio = min(max(width / height, 1 / MAX_RATIO), MAX_RATIO)
    slack = step / math.sqrt(area / MAX_RATIO)  # one multiple more or less of the shorter side
    assert abs(math.log(wide / high / ratio)) <= 2 * slack
    assert abs(math.log(wide * high / area)) <= 2 * slack


@given(sides, sides)
def test_a_canvas_is_its_own_canvas(width: int, height: int) -> None:
    canvas = choose_canvas((width, height), MEGAPIXEL, 32)
    if max(canvas) / min(canvas) <= MAX_RATIO:
        assert choose_canvas(canvas, MEGAPIXEL, 32) == canvas


def test_extreme_shapes_are_squeezed_and_stretched_again() -> None:
    assert choose_canvas((10_000, 10), 256 * 256, 16) == (512, 128)
    assert choose_canvas((10, 10_000), 256 * 256, 16) == (128, 512)
    banner = Image.new("RGB", (1000, 10), "red")
    edited = fit(banner, choose_canvas(banner.size, 256 * 256, 16))
    assert restore(edited, banner).size == banner.size


def test_no_side_is_below_the_least_that_a_model_takes() -> None:
    assert choose_canvas((400, 100), 64 * 64, 16) == (128, 32)
    assert min(choose_canvas((400, 100), 64 * 64, 16, min_side=64)) == 64
    assert choose_canvas((400, 100), 64 * 64, 48, min_side=64)[1] == 96


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = (
        Image.new("L", (8, 6), 200).convert("RGB").convert(mode)
        if mode != "I;16"
        else Image.new(mode, (8, 6))
    )
    fitted = fit(image, (32, 16))
    assert (fitted.mode, fitted.size) == ("RGB", (32, 16))


def test_what_is_transparent_is_seen_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert fit(clear, (4, 4)).getpixel((0, 0)) == (255, 255, 255)
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert fit(half, (4, 4)).getpixel((0, 0)) == (127, 127, 127)
    palette = Image.new("P", (4, 4), 0)
    palette.info["transparency"] = 0
    assert fit(palette, (4, 4)).getpixel((0, 0)) == (255, 255, 255)


def test_an_image_that_fits_is_not_touched() -> None:
    image = Image.new("RGB", (32, 32), "red")
    assert fit(image, (32, 32)) is image
    assert restore(image, Image.new("RGB", (32, 32))) is image


def test_an_image_that_nobody_edited_comes_back_as_it_was() -> None:
    untouched = Image.new("RGBA", (30, 20), (10, 20, 30, 40))
    assert restore(untouched, untouched) is untouched


def test_transparency_and_the_colours_under_it_survive_an_edit_that_changes_nothing() -> None:
    draw = np.random.default_rng(0)
    original = Image.fromarray(draw.integers(0, 256, (20, 30, 4), dtype=np.uint8))
    back = restore(fit(original, original.size), original)
    assert (back.mode, back.size) == ("RGBA", original.size)
    before, after = np.asarray(original, np.int16), np.asarray(back, np.int16)
    assert np.array_equal(before[..., 3], after[..., 3])
    visible = before[..., 3] >= 128
    # Half a level over white is at most two under an alpha of a half.
    assert np.abs(before - after)[visible][..., :3].max() <= 2


def test_the_originals_transparency_is_put_back_at_its_own_size() -> None:
    original = Image.new("RGBA", (300, 200), (255, 0, 0, 255))
    original.putpixel((299, 199), (0, 0, 0, 0))
    back = restore(Image.new("RGB", (96, 64), "blue"), original)
    assert back.size == (300, 200)
    assert back.getpixel((0, 0)) == (0, 0, 255, 255)
    assert back.getchannel("A").tobytes() == original.getchannel("A").tobytes()
