"""Colours as people see them: from sRGB to CIELAB, and how far two colours are apart. Pure functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ, IEC 61966-2-1."""
_WHITE = _TO_XYZ.sum(axis=1)
"""D65, as the matrix has it: so that white and gray have no colour at all."""
_BEND = 6 / 29
_RADIAN = math.pi / 180
_TURN = 2 * math.pi * (1 + 1e-12)
"""A full turn in radians, and so much more that opposite hues are half of one, however they are rounded."""


def to_lab(rgb: Floats) -> Floats:
    """sRGB to CIELAB under D65 (CIE 15:2004), for the 2° observer.

    Args:
        rgb: (…, 3), values from 0 to 255 and what lies between them.

    Returns:
        (…, 3), of the precision that was given: L* from 0 to 100, a* and b*. Within 0.02 of libraries whose
        white point has fewer digits.
    """
    value = np.ascontiguousarray(np.moveaxis(rgb, -1, 0)).clip(0, 255) / 255  # by channel: twice as fast
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    weights = (_TO_XYZ / _WHITE[:, None]).astype(rgb.dtype)
    xyz = (weights @ linear.reshape(3, -1)).reshape(linear.shape)
    x, y, z = np.where(xyz > _BEND**3, np.cbrt(xyz), xyz / (3 * _BEND**2) + 4 / 29)
    return np.moveaxis(np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]), 0, -1)


def delta_e_2000(one: Floats, other: Floats) -> Floats:
    """The colour difference CIEDE2000, with all weights 1: about 1 is what can just be seen side by side.

    Args:
        one, other: (…, 3), L*, a* and b*; which of them comes first makes no difference.

    Returns:
        (…): 0 for equal colours; about 100 from black to white. The formula's own: to the four decimals of
        the test pairs that were published with it.

    Source: G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", Color Research & Application 30(1), 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    stretch = 1.5 - 0.5 * _weigh_chroma((np.sqrt(a1 * a1 + b1 * b1) + np.sqrt(a2 * a2 + b2 * b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.sqrt(a1 * a1 + b1 * b1), np.sqrt(a2 * a2 + b2 * b2)
    h1, h2 = _turn_back(np.arctan2(b1, a1)), _turn_back(np.arctan2(b2, a2))
    turn = h2 - h1
    turn -= 2 * math.pi * np.rint(turn / _TURN)
    hue = _turn_back(h1 + turn / 2)  # of a gray it may be any: what it weighs is 0
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * np.cos(hue - _RADIAN * 30) + 0.24 * np.cos(2 * hue)
    weight += 0.32 * np.cos(3 * hue + _RADIAN * 6) - 0.20 * np.cos(4 * hue - _RADIAN * 63)
    off = (light - 50) ** 2
    d_light = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * weight)
    from_blue = ((hue - _RADIAN * 275) / (_RADIAN * 25)) ** 2
    angle = _RADIAN * 60 * np.exp(-from_blue)
    mixed = -2 * _weigh_chroma(chroma) * np.sin(angle)
    squared = d_light**2 + d_chroma**2 + d_hue**2 + mixed * d_chroma * d_hue
    return np.sqrt(np.maximum(squared, 0))


def _turn_back(angle: Floats) -> Floats:
    """The same angle, in radians from 0 to a full turn."""
    return angle - 2 * math.pi * np.floor(angle / (2 * math.pi))


def _weigh_chroma(chroma: Floats) -> Floats:
    """√(C⁷ / (C⁷ + 25⁷))."""
    square = chroma * chroma
    seventh = square * square * square * chroma  # ten times as fast as `**`
    return np.sqrt(seventh / (seventh + 25.0**7))
