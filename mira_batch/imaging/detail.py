"""Sharpness, noise and soft edges of an image, from samples of its own pixels. Pure functions over arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from mira_batch.imaging.colour import Floats

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Levels = np.ndarray[Any, np.dtype[np.int16]]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""
Measured = TypeVar("Measured")
TILES = 4
"""Samples in each direction."""
TILE = 48
"""Most pixels of a side of a sample."""
_FLAT = 1.0
"""Variance of the Laplacian below which there is nothing to be sharp."""
_SMOOTHEST = 4
"""How many samples noise is read from: those with the least detail."""
_STEP = 8
"""Levels between neighbours that make an edge of alpha."""


def place_tiles(width: int, height: int) -> list[Box]:
    """Where an image of this size is sampled: boxes, spread evenly, of the image's own pixels; one, the
    whole image, where it is too small for several. Empty below 3 pixels."""
    side = min(TILE, width // TILES, height // TILES)
    if side < 8:
        whole = (0, 0, min(width, TILE), min(height, TILE))
        return [whole] if min(width, height) >= 3 else []
    lefts, tops = (
        [(2 * k + 1) * (length - side) // (2 * TILES) for k in range(TILES)] for length in (width, height)
    )
    return [(left, top, left + side, top + side) for top in tops for left in lefts]


def compare_sharpness(source: Bytes, result: Bytes) -> float | None:
    """How sharp the result is against the source: the ratio of their variances of the Laplacian.

    Args:
        source, result: (N, H, W), luma of the same samples of both; one sample at least.

    Returns:
        1 where nothing has changed, below 1 for one that is softer, above 1 for one that is sharper or has
        more noise. None where the source has no detail.

    Source: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (LAPV).
    """
    before, after = _measure_both(_measure_laplacian, source, result)
    return after / before if before >= _FLAT else None


def compare_noise(source: Bytes, result: Bytes) -> float:
    """How much noise was added: the standard deviation of independent noise that would account for it.

    It is read where the source has the least detail, a quarter of the samples.

    Args:
        source, result: (N, H, W), luma of the same samples of both; one sample at least.

    Returns:
        In 8-bit levels; below 0 where noise was taken away.

    Source: J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2),
    1996.
    """
    before, after = _measure_both(_estimate_noise, source, result)
    smoothest = np.argsort(before, kind="stable")[:_SMOOTHEST]
    added = float((after[smoothest] ** 2 - before[smoothest] ** 2).mean())
    return math.copysign(math.sqrt(abs(added)), added)


def measure_alpha_loss(source: Bytes, result: Bytes | None, most: int) -> float | None:
    """How far alpha has changed along the edges of what an image shows.

    Looked at are the source's pixels that are partly transparent, or next to one (right, below) of another
    alpha: at most `most` in each direction of the image, evenly spread, so that hard and soft edges keep what
    they are.

    Args:
        source: (H, W), alpha of the source.
        result: alpha of the result, of the same shape; None where it is opaque.
        most: the samples in each direction.

    Returns:
        The mean difference, from 0 to 1: 0 where alpha is as it was; about a half where it is gone, or where
        soft edges have become hard. None where the source has no such edge.
    """
    height, width = source.shape
    step = max(1, math.ceil(max(height, width) / most))
    here = source[::step, ::step].astype(np.int16)
    edge = (here > 0) & (here < 255)
    for axis in (0, 1):
        beside = (source[1::step, ::step] if axis == 0 else source[:, 1::step][::step]).astype(np.int16)
        rows, columns = beside.shape
        edge[:rows, :columns] |= np.abs(here[:rows, :columns] - beside) >= _STEP
    if not edge.any():
        return None
    now = 255 if result is None else result[::step, ::step].astype(np.int16)
    return float(np.abs(here - now)[edge].mean()) / 255


def _measure_both(
    measure: Callable[[Levels], Measured], one: Bytes, other: Bytes
) -> tuple[Measured, Measured]:
    """What is equal to the last bit is measured once."""
    found = measure(one.astype(np.int16))
    return found, found if np.array_equal(one, other) else measure(other.astype(np.int16))


def _measure_laplacian(tiles: Levels) -> float:
    """Its variance."""
    v = tiles
    laplacian = 4 * v[:, 1:-1, 1:-1] - v[:, :-2, 1:-1] - v[:, 2:, 1:-1] - v[:, 1:-1, :-2] - v[:, 1:-1, 2:]
    wide = laplacian.astype(np.int32)
    return (
        int((wide * wide).sum(dtype=np.int64)) / wide.size - (int(wide.sum(dtype=np.int64)) / wide.size) ** 2
    )


def _estimate_noise(tiles: Levels) -> Floats:
    """Of each sample, in levels."""
    down = tiles[:, :-2] - 2 * tiles[:, 1:-1] + tiles[:, 2:]
    both = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    sums = np.abs(both).reshape(len(both), -1).sum(axis=1, dtype=np.int32)
    return sums / both[0].size * (math.sqrt(math.pi / 2) / 6)
