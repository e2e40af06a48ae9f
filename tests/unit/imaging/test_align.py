"""Shifts that are known: of photographs, of patterns, and where there is none to be had."""

from __future__ import annotations

import numpy as np
import pytest

from mira_batch.imaging.align import LEAST_SIDE, Shift, find_shift, lay_over


def texture(height: int = 160, width: int = 200, x: float = 0, y: float = 0) -> np.ndarray:
    """Soft noise that is the same everywhere but for its place."""
    spectrum = np.fft.fft2(np.random.default_rng(3).normal(0, 1, (512, 512)))
    rows, columns = np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None]
    spectrum *= np.exp(-20 * (rows**2 + columns**2)) * np.exp(-2j * np.pi * (rows * y + columns * x))
    whole = np.fft.ifft2(spectrum).real
    return (128 + 40 * whole[:height, :width] / whole.std()).astype(np.float32)


@pytest.mark.parametrize("x", [0, 0.25, 0.5, 1, -3.75, 8, 14])
@pytest.mark.parametrize("y", [0, -0.4, 5])
def test_a_shift_is_found_between_pixels_too(x: float, y: float) -> None:
    found = find_shift(texture(), texture(x=x, y=y))
    assert found is not None
    assert found == pytest.approx((x, y), abs=0.1)


def test_a_large_shift_is_found_in_the_whole_image() -> None:
    assert find_shift(texture(), texture(x=-28, y=24)) == pytest.approx((-28, 24), abs=0.1)


def test_an_edited_part_has_no_say() -> None:
    moved = texture(x=2, y=1)
    moved[:, :90] = texture(160, 90, x=77, y=31)
    assert find_shift(texture(), moved) == pytest.approx((2, 1), abs=0.25)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (np.full((64, 64), 99, np.float32), np.full((64, 64), 99, np.float32)),
        (texture(LEAST_SIDE - 1, 99), texture(LEAST_SIDE - 1, 99)),
        (texture(), texture()[:, ::-1]),
        (texture(), texture()[::-1]),
        (texture(128, 128), texture(128, 128).T),
        (texture(), texture(x=250, y=250)),
    ],
    ids=["plain", "tiny", "mirrored", "flipped", "turned", "another"],
)
def test_none_where_it_cannot_be_had(source: np.ndarray, result: np.ndarray) -> None:
    assert find_shift(source, result) is None


@pytest.mark.parametrize("shift", [Shift(3, -2), Shift(-1.5, 0.25), Shift(0.5, 4.75), Shift(-6, 0)])
def test_what_both_show_is_laid_over(shift: Shift) -> None:
    one, other = lay_over(texture(), texture(x=shift.x, y=shift.y), shift)
    assert one.shape == other.shape
    assert one.shape[0] >= 160 - abs(shift.y) - 1 and one.shape[1] >= 200 - abs(shift.x) - 1
    assert np.abs(one - other).mean() < 5, "what interpolation blurs"
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
