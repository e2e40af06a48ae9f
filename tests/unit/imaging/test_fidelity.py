"""Facts of made-up edits against their known truth. The bounds are those that docs/fidelity.md states."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from mira_batch.imaging import Fidelity, measure_fidelity
from mira_batch.imaging.colour import delta_e_2000, to_lab
from tests.unit.imaging.edits import NAMES, from_levels, photograph, saved, tint

WIDTH, HEIGHT = 512, 384
every_photograph = pytest.mark.parametrize("name", NAMES)
TINTS = [(1.03, 1, 0.97), (1.1, 1, 0.9), (1.25, 1, 0.7), (1.1, 1.1, 1.1), (0.9, 0.95, 1)]


@cache
def small(name: str, x: float = 0, y: float = 0) -> Image.Image:
    return photograph(name, WIDTH, HEIGHT, x, y)


def other_than(name: str) -> Image.Image:
    return small(NAMES[(NAMES.index(name) + 3) % len(NAMES)])


def differences(one: Image.Image, other: Image.Image) -> np.ndarray:
    """CIEDE2000 of each pixel."""
    return delta_e_2000(*(to_lab(np.asarray(image).astype(float)) for image in (one, other)))


def shift_of(found: Fidelity) -> tuple[float, float]:
    assert found.shift_x is not None and found.shift_y is not None
    return found.shift_x, found.shift_y


@every_photograph
def test_nothing_has_changed(name: str) -> None:
    found = measure_fidelity(small(name), small(name).copy())
    assert found == Fidelity(0, 0, 0, 0, 0, 1, 0, None, 1, 1)
    assert found.shift == 0


@every_photograph
def test_a_shift_of_1_to_8_pixels(name: str) -> None:
    for by in range(1, 9):
        found = measure_fidelity(small(name), small(name, by, -by / 2))
        assert shift_of(found) == pytest.approx((by, -by / 2), abs=0.15)
        assert found.shift == pytest.approx(math.hypot(by, by / 2), abs=0.15)
        assert found.delta_e is not None and found.delta_e < 0.5, "moved is not recoloured"
        assert found.changed_share is not None and found.changed_share < 0.03


@pytest.mark.parametrize(("width", "bound"), [(1024, 0.25), (2048, 0.5)])
def test_of_larger_images_a_shift_is_less_exact(width: int, bound: float) -> None:
    for name in NAMES:
        source = photograph(name, width, width * 3 // 4)
        found = measure_fidelity(source, photograph(name, width, width * 3 // 4, 3, -1))
        assert shift_of(found) == pytest.approx((3, -1), abs=bound)


@every_photograph
@pytest.mark.parametrize("by", TINTS, ids=str)
def test_a_tint_of_the_whole(name: str, by: tuple[float, float, float]) -> None:
    result = tint(small(name), by)
    truth = differences(small(name), result)
    found = measure_fidelity(small(name), result)
    assert found.delta_e == pytest.approx(truth.mean(), abs=0.2)
    assert found.delta_e_p95 == pytest.approx(np.percentile(truth, 95), abs=0.2, rel=0.4)
    assert found.changed_share is not None and found.changed_share < 0.05
    assert found.shift is not None and found.shift < 0.15


@every_photograph
def test_a_local_edit(name: str) -> None:
    painted = small(name).copy()
    ImageDraw.Draw(painted).rectangle((128, 96, 255, 191), fill=(200, 30, 60))
    found = measure_fidelity(small(name), painted)
    assert found.changed_share == pytest.approx(1 / 12 * 0.75, abs=0.03)
    assert found.delta_e is not None and found.delta_e < 0.05
    assert shift_of(found) == pytest.approx((0, 0), abs=0.15)
    pasted = small(name).copy()
    pasted.paste(other_than(name).resize((256, 192)), (64, 48))
    found = measure_fidelity(small(name), pasted)
    assert found.changed_share == pytest.approx(0.25, abs=0.03)
    assert found.delta_e is not None and found.delta_e < 0.05
    assert shift_of(found) == pytest.approx((0, 0), abs=0.2)
    assert found.sharpness_ratio in (None, pytest.approx(1, abs=0.01)), "of what was not edited"


@every_photograph
def test_a_local_edit_that_moves_or_tints_the_rest(name: str) -> None:
    part = other_than(name).resize((256, 192))
    moved = small(name, 3, 2).copy()
    moved.paste(part, (64, 48))
    found = measure_fidelity(small(name), moved)
    assert shift_of(found) == pytest.approx((3, 2), abs=0.2)
    assert found.changed_share == pytest.approx(0.25, abs=0.05)
    assert found.delta_e is not None and found.delta_e < 0.5
    tinted = tint(pasted := small(name).copy(), TINTS[1])
    tinted.paste(part, (64, 48))
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[48:240, 64:320] = False
    truth = differences(small(name), tint(pasted, TINTS[1]))[outside].mean()
    found = measure_fidelity(small(name), tinted)
    assert found.delta_e in (None, pytest.approx(truth, rel=0.15, abs=0.2))


@every_photograph
@pytest.mark.parametrize(
    ("form", "quality", "bound"), [("JPEG", 90, 0.5), ("JPEG", 75, 1), ("WEBP", 75, 1.2)]
)
def test_to_encode_anew_moves_and_recolours_little(name: str, form: str, quality: int, bound: float) -> None:
    found = measure_fidelity(small(name), saved(small(name), form, quality))
    assert found.delta_e is not None and found.delta_e < bound
    assert found.changed_share is not None and found.changed_share < 0.02
    assert found.shift is not None and found.shift < 0.3
    assert found.noise_added is not None and abs(found.noise_added) < 0.8


@every_photograph
@pytest.mark.parametrize("strength", [2, 5])
def test_noise_that_was_added(name: str, strength: int) -> None:
    noise = np.random.default_rng(0).normal(0, strength, (HEIGHT, WIDTH, 1))
    found = measure_fidelity(small(name), from_levels(np.asarray(small(name)) + noise))
    assert found.noise_added == pytest.approx(strength, rel=0.12)
    assert found.sharpness_ratio is not None and found.sharpness_ratio > 1.2
    assert found.delta_e is not None and found.delta_e < 0.5


@every_photograph
def test_sharpness_is_that_of_the_whole_image(name: str) -> None:
    blurred = small(name).filter(ImageFilter.GaussianBlur(1.5))

    def measure(image: Image.Image) -> float:
        v = np.asarray(image.convert("L")).astype(int)
        return (4 * v[1:-1, 1:-1] - v[:-2, 1:-1] - v[2:, 1:-1] - v[1:-1, :-2] - v[1:-1, 2:]).var()

    found = measure_fidelity(small(name), blurred)
    assert found.sharpness_ratio == pytest.approx(measure(blurred) / measure(small(name)), rel=0.5)
    assert found.noise_added is not None and found.noise_added < 0.1


def test_what_was_turned_has_no_shift_and_one_of_another_form_no_place() -> None:
    source = small("chelsea.png")
    for result in (ImageOps.mirror(source), source.rotate(180)):
        found = measure_fidelity(source, result)
        assert (found.shift, found.delta_e) == (None, None)
        assert found.changed_share is not None and found.changed_share > 0.8
    turned = measure_fidelity(source, source.rotate(90, expand=True))
    assert turned == Fidelity(size_ratio=1, aspect_change=round((3 / 4) ** 2, 4))
    cropped = measure_fidelity(source, source.crop((0, 0, 384, 384)))
    assert cropped == Fidelity(size_ratio=0.75, aspect_change=0.75)


def test_another_size_of_the_same_form_is_compared() -> None:
    source = small("coffee.jpg")
    found = measure_fidelity(source, source.resize((WIDTH * 2, HEIGHT * 2), Image.Resampling.BICUBIC))
    assert (found.size_ratio, found.aspect_change, found.sharpness_ratio, found.noise_added) == (
        4,
        1,
        None,
        None,
    )
    assert shift_of(found) == pytest.approx((0, 0), abs=0.2)
    assert found.delta_e is not None and found.delta_e < 0.5 and found.changed_share == 0


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 9), (3, 3), (7, 5), (40, 4), (15, 300), (257, 20), (1, 5000), (4000, 40)]
)
@pytest.mark.parametrize("modes", [("RGB", "RGB"), ("RGBA", "RGBA"), ("RGB", "RGBA"), ("RGBA", "RGB")])
def test_images_of_any_size_and_mode(size: tuple[int, int], modes: tuple[str, str]) -> None:
    draw = np.random.default_rng(5)
    pair = [Image.fromarray(draw.integers(0, 256, (*size[::-1], len(mode)), np.uint8)) for mode in modes]
    found = measure_fidelity(*pair)
    for name in Fidelity.__dataclass_fields__:
        value = getattr(found, name)
        assert value is None or math.isfinite(value), name
    assert measure_fidelity(*pair) == found
    assert measure_fidelity(pair[0], pair[0].copy()).delta_e in (0, None)


def test_a_plain_image_has_no_shift_and_no_sharpness() -> None:
    found = measure_fidelity(Image.new("RGB", (300, 200), "white"), Image.new("RGB", (300, 200), "#fdfdfd"))
    assert (found.shift, found.sharpness_ratio, found.changed_share) == (None, None, 0)
    assert found.delta_e == pytest.approx(0.42, abs=0.1)


def a_cut_out(soft: bool) -> Image.Image:
    """A photograph on a round piece of glass."""
    mask = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(mask).ellipse((100, 60, 400, 330), fill=255)
    image = small("coffee.jpg").copy()
    image.putalpha(mask.filter(ImageFilter.GaussianBlur(2)) if soft else mask)
    return image


def test_edges_of_alpha() -> None:
    soft, hard = a_cut_out(soft=True), a_cut_out(soft=False)
    assert measure_fidelity(soft, soft.copy()).alpha_loss == 0
    assert measure_fidelity(hard, hard.copy()).alpha_loss == 0
    flat = soft.convert("RGB")
    lost = measure_fidelity(soft, flat).alpha_loss
    alpha = np.asarray(soft.getchannel("A")) / 255
    edge = (alpha > 0) & (alpha < 1)
    assert lost == pytest.approx((1 - alpha[edge]).mean(), abs=0.05)
    cut = soft.copy()
    cut.putalpha(soft.getchannel("A").point(lambda value: 255 * (value > 127)))
    truth = np.abs(np.asarray(cut.getchannel("A")) / 255 - alpha)[edge].mean()
    assert measure_fidelity(soft, cut).alpha_loss == pytest.approx(truth, abs=0.05)
    assert measure_fidelity(flat, flat.copy()).alpha_loss is None
    opaque = flat.convert("RGBA")
    assert measure_fidelity(opaque, opaque.copy()).alpha_loss is None, "it has no edge"
