"""Whether what two images have in common lies at the same place. Pure functions over arrays of luma."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mira_batch.imaging.colour import Floats

LEAST_SIDE = 16
"""Pixels of a side below which nothing is said of a shift."""
BLOCK = 64
"""Pixels of the side of a block."""
_MANY = 8
"""Blocks from which on half of them are enough."""
_STEP = 3
"""Levels between neighbours that count as detail."""
_BLUR = 1.0
"""Standard deviation, in pixels, of the peak that a plain shift gives."""
_NOISE = 1.0
"""Levels: detail that is weaker than noise of this strength has no voice."""
_LEAST_DETAIL = 0.02
"""Share of all frequencies, by weight, that must have a voice."""
_LEAST_VOTES = 0.3
"""Share of the blocks' detail that must have moved alike, for its movement to be that of the image."""
_LEAST_PEAK = 0.6
"""The same of an image as a whole."""
Pixels = np.ndarray[Any, Any]
"""Bytes, or floating point."""


class Shift(NamedTuple):
    """How far what an image shows has moved, in pixels of the arrays."""

    x: float
    """To the right."""
    y: float
    """Downwards."""


def find_shift(source: Pixels, result: Pixels) -> Shift | None:
    """How far most of an image's detail has moved, by phase correlation.

    Blocks of 64 pixels have a vote each, so that parts that were edited have no more say than their area;
    where they don't agree, the image is looked at as a whole, which finds larger movements. The phases of a
    spectrum are weighted by a Gaussian, so that the peak is one, and a parabola through the logarithms of
    three values finds its middle between pixels.

    Args:
        source, result: (H, W) of the same shape, luma from 0 to 255, as bytes or not.

    Returns:
        The shift, to within 0.1 pixels for one that was only moved. None where it can't be had: with a side
        below 16 pixels, with too little detail (a plain surface), or where too little of the detail has moved
        alike (another picture; one that was turned, scaled or mirrored). A pattern that repeats may look as
        if it had moved by less.

    Source: C. D. Kuglin, D. C. Hines, "The phase correlation image alignment method", Proc. IEEE Int. Conf.
    on Cybernetics and Society, 1975.
    """
    height, width = source.shape
    if min(height, width) < LEAST_SIDE:
        return None
    if _is_still(source, result):
        return Shift(0.0, 0.0)
    if (found := _correlate(_cut(source), _cut(result), _LEAST_VOTES)) is not None:
        return found
    return _correlate(source[None], result[None], _LEAST_PEAK) if max(height, width) > BLOCK else None


def _is_still(source: Pixels, result: Pixels) -> bool:
    """Whether half of the detail is what it was to the last bit: what was moved is so by chance alone. It
    takes a tenth of the time of a correlation."""
    left, right = source[:, :-1], source[:, 1:]
    detail = np.maximum(left, right) - np.minimum(left, right) >= _STEP  # which bytes can hold, too
    found = np.count_nonzero(detail)
    stays = np.count_nonzero(detail & (right == result[:, 1:]))
    return bool(found >= _LEAST_DETAIL * detail.size and 2 * stays >= found)


def _cut(luma: Pixels) -> Pixels:
    """Blocks, (N, B, B'), spread evenly; where there are many, every other one, as on a chessboard."""
    places = []
    for length in luma.shape:
        count = max(1, length // BLOCK)
        side = min(BLOCK, length)
        places.append([((2 * k + 1) * length // count - side) // 2 for k in range(count)])
    high, wide = (min(BLOCK, length) for length in luma.shape)
    blocks = [(i, j) for i in range(len(places[0])) for j in range(len(places[1]))]
    if len(blocks) >= _MANY:
        blocks = [(i, j) for i, j in blocks if (i + j) % 2 == 0]
    corners = [(places[0][i], places[1][j]) for i, j in blocks]
    return np.stack([luma[top : top + high, left : left + wide] for top, left in corners])


def _correlate(source: Pixels, result: Pixels, least: float) -> Shift | None:
    """The shift that blocks, (N, H, W), have in common."""
    height, width = source.shape[1:]
    window, weight = _make_windows(height, width)
    cross = np.conj(_transform(source, window)) * _transform(result, window)
    size = np.abs(cross)
    voice = weight / (size + np.float32(_NOISE**2) * np.float32((window**2).sum()))
    heard = _sum_spectra(voice * size, width)
    quietest = _LEAST_DETAIL * _sum_spectra(weight[None], width)
    votes = heard >= quietest
    if 4 * votes.sum() < len(votes):
        return None
    voice *= (votes / np.maximum(heard, quietest)).astype(np.float32)[:, None, None]
    agreed = (cross * voice).sum(axis=0) / votes.sum()
    surface = np.fft.irfft2(agreed, s=(height, width)) * (height * width)
    row, column = divmod(int(surface.argmax()), width)
    if surface[row, column] < least:
        return None
    x = column + _find_middle(surface[row, [column - 1, column, (column + 1) % width]])
    y = row + _find_middle(surface[[row - 1, row, (row + 1) % height], column])
    return Shift(x - width if x > width / 2 else x, y - height if y > height / 2 else y)


def lay_over(source: Pixels, result: Pixels, shift: Shift) -> tuple[Pixels, Pixels]:
    """What both images show, at the same places: the result moved back, between pixels by linear
    interpolation, and of each the part that is in both.

    Args:
        source, result: (H, W, …) of the same shape.
        shift: of the result, smaller than the arrays.
    """
    for axis, by in ((0, shift.y), (1, shift.x)):
        whole = int(np.floor(by + 0.05))
        part = by - whole
        length = source.shape[axis]
        first, last = max(0, -whole), min(length, length - whole - (part > 0.05))
        places = (
            slice(first, last),
            slice(first + whole, last + whole),
            slice(first + whole + 1, last + whole + 1),
        )
        of, moved, next_to = places if axis == 0 else [(slice(None), place) for place in places]
        source = source[of]
        if part > 0.05:
            result = (1 - part) * result[moved].astype(np.float32) + part * result[next_to]
        else:
            result = result[moved]
    return source, result


@lru_cache(maxsize=32)
def _make_windows(height: int, width: int) -> tuple[Floats, Floats]:
    """The window over an image (Hann), and the weight of each frequency of its spectrum."""
    hann = [np.hanning(side + 2)[1:-1] for side in (height, width)]
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    weight = np.exp(-2 * (np.pi * _BLUR) ** 2 * (rows**2 + columns**2))
    weight[0, 0] = 0  # the mean says nothing of places
    return np.outer(*hann).astype(np.float32), weight.astype(np.float32)


def _transform(luma: Pixels, window: Floats) -> np.ndarray[Any, np.dtype[np.complexfloating[Any, Any]]]:
    blocks = luma.astype(np.float32)
    blocks -= blocks.mean(axis=(1, 2), keepdims=True)
    blocks *= window
    return np.fft.rfft2(blocks)


def _sum_spectra(half: Floats, width: int) -> Floats:
    """The sum over each whole spectrum, of which `rfft2` gives the half."""
    ends = half[..., 0].sum(axis=1)
    if width % 2 == 0:
        ends = ends + half[..., -1].sum(axis=1)
    return 2 * half.sum(axis=(1, 2)) - ends


def _find_middle(three: Floats) -> float:
    """Where a Gaussian has its middle, from the values beside and at its highest: -0.5 to 0.5."""
    left, top, right = np.log(np.maximum(three, 1e-9))
    bend = left - 2 * top + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
