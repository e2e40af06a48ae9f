"""What of an image was edited, and what became of the rest: over cells of some pixels each. Pure functions.

Nobody says where an edit was meant to be, so it is told by what most of the picture's colours did. Where a
fair share of them stayed what they were, the edit is what differs from the source. Else, where one map of
colours explains most of the picture (a tint, another brightness), the whole was recoloured, and the edit is
what differs from that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mira_batch.imaging.align import Pixels
from mira_batch.imaging.colour import Floats, delta_e_2000, to_lab

CELL = 4
"""Pixels of a cell's side."""
SAME = 1.5
"""ΔE2000 up to which a colour stayed what it was."""
CHANGED = 4.0
"""ΔE2000 from what was to be expected above which a cell was edited."""
DETAIL = 16.0
"""Levels of luma: standard deviation of the detail that isn't the source's, above which it was, too."""
_STAYED = 0.35
"""Share of the colours that stayed, from which on the rest is the edit."""
_EXPLAINED = 0.3
"""Share of the colours that a map must explain beyond those that stayed."""
_LEAST = 0.1
"""Share of the picture that must be outside the edit for anything to be said of it."""
_ROUNDS = 5
_SAMPLE = 1000
"""About how many cells a map is fitted to."""
_FITS = 12.0
"""Levels from the map within which a cell takes part in its next fit."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Change(NamedTuple):
    """How two images of the same place and size differ."""

    share: float
    """Of the picture that was edited, 0 to 1."""
    mean: float | None
    """Mean ΔE2000 outside of that; None where hardly anything is."""
    p95: float | None
    """Its 95th percentile."""
    edited: Flags
    """Of each cell, whether it was."""


def compare_cells(source: Pixels, result: Pixels, lumas: tuple[Pixels, Pixels]) -> Change:
    """What was edited, and how the colours outside of it differ.

    Args:
        source, result: (H, W, 3) of the same shape, sRGB from 0 to 255, a cell or more in each direction.
        lumas: (H, W), luma of both.

    Returns:
        Colours are those of cells, so that noise and the traces of a lossy format average out. The cells next
        to an edit belong to neither side.
    """
    before, after = (_sum_cells(image).astype(np.float32) / CELL**2 for image in (source, result))
    moved = _find_differences(before, after)
    off = moved
    weights = _weigh_colours(before)
    stayed = float(weights[moved <= SAME].sum())
    if stayed < _STAYED:
        from_map = _find_differences(_fit_colours(before, after, weights), after)
        if float(weights[from_map <= SAME].sum()) >= stayed + _EXPLAINED:
            off = from_map
    edited = (off > CHANGED) | (_find_new_detail(*lumas) > DETAIL)
    share, outside = float(edited.mean()), moved[~_widen(edited)]
    if outside.size < _LEAST * edited.size:
        return Change(share, None, None, edited)
    return Change(share, float(outside.mean()), float(np.percentile(outside, 95)), edited)


def _sum_cells(image: Pixels) -> Pixels:
    """The sum of each cell, (H / 4, W / 4, …), channel by channel in memory, as is fastest; what is left over
    at the end is left out."""
    rows, columns = (length // CELL for length in image.shape[:2])
    whole = image[: rows * CELL, : columns * CELL].reshape(rows, CELL, -1)
    wide = np.uint16 if image.dtype == np.uint8 else image.dtype
    down = whole.sum(axis=1, dtype=wide).reshape(rows * columns, CELL, -1)
    across = np.ascontiguousarray(down.T).sum(axis=1, dtype=wide).reshape(-1, rows, columns)
    return np.moveaxis(across, 0, -1).reshape(rows, columns, *image.shape[2:])


def _find_differences(one: Floats, other: Floats) -> Floats:
    """CIEDE2000 of each cell; where few of them differ at all, only those are worked out."""
    differ = (one != other).any(axis=-1)
    if 2 * np.count_nonzero(differ) > differ.size:
        return delta_e_2000(to_lab(one), to_lab(other))  # to pick them would take longer
    found = np.zeros(differ.shape, np.float32)
    found[differ] = delta_e_2000(to_lab(one[differ]), to_lab(other[differ]))
    return found


def _weigh_colours(cells: Floats) -> Floats:
    """A weight for each cell, all of which add up to 1: each colour that the picture has counts alike,
    whether a little or much is of it, so that a plain background doesn't speak for the whole."""
    levels = cells.astype(np.uint8) >> 5
    bins = (levels[..., 0].astype(np.intp) << 6) | (levels[..., 1].astype(np.intp) << 3) | levels[..., 2]
    counts = np.bincount(bins.ravel(), minlength=512)
    said = np.minimum(counts, max(1.0, cells[..., 0].size / 256))  # a colour of a few cells says little
    weights = (said / np.maximum(counts, 1))[bins]
    return weights / weights.sum()


def _fit_colours(before: Floats, after: Floats, weights: Floats) -> Floats:
    """What the affine map of colours that explains most of the picture makes of the source's: least squares
    over a sample of the cells, over and over without what it doesn't fit."""
    step = max(1, weights.size // _SAMPLE)
    some, wanted = (cells.reshape(-1, 3)[::step].astype(np.float64) for cells in (before, after))
    some = np.concatenate([some, np.full((len(some), 1), 255)], axis=1)
    voice = weights.reshape(-1, 1)[::step]
    part, made = np.ones(len(some), bool), np.zeros((4, 3))
    for round_ in range(_ROUNDS):
        heard = some * (voice * part[:, None])
        square = heard.T @ some + 1e-3 * np.eye(4)  # of a picture of few colours there are many maps
        made = np.linalg.solve(square, heard.T @ wanted)
        error = np.sqrt(((some @ made - wanted) ** 2) @ np.ones(3))
        bound = max(_FITS, float(np.median(error)) * (2 - 0.25 * round_))
        if bound == _FITS and (part == (error <= bound)).all():
            break  # as all later rounds would be
        part = error <= bound
    linear, constant = made[:3].T.astype(before.dtype), (255 * made[3]).astype(before.dtype)
    return np.moveaxis(np.tensordot(linear, np.moveaxis(before, -1, 0), axes=1), 0, -1) + constant


def _find_new_detail(source: Pixels, result: Pixels) -> Floats:
    """Of each cell the standard deviation of the detail in one image that the other doesn't explain, in
    levels. More or less contrast, and a negative, are explained. Rows without any difference are left out."""
    rows, columns = (length // CELL for length in source.shape)
    found = np.zeros((rows, columns), np.float32)
    pair = [luma[: rows * CELL, : columns * CELL].reshape(rows, -1) for luma in (source, result)]
    differ = (pair[0] != pair[1]).any(axis=1)
    if not differ.any():
        return found
    one, other = (luma[differ].astype(np.float32).reshape(-1, columns * CELL) for luma in pair)
    products = one, other, one * one, other * other, one * other
    a, b, aa, bb, ab = (_sum_cells(values) / CELL**2 for values in products)
    spread, spreads, both = aa - a * a, bb - b * b, ab - a * b
    alike = np.clip(both**2 / np.maximum(spread * spreads, 1e-6), 0, 1)
    found[differ] = np.sqrt(np.maximum(np.maximum(spread, spreads), 0) * (1 - alike))
    return found


def _widen(mask: Flags) -> Flags:
    """A mask and the cells around it."""
    wide = np.pad(mask, 1)
    wide = wide[:-2] | wide[1:-1] | wide[2:]
    return wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
