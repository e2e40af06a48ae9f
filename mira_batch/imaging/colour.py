"""Colours as people see them: from sRGB to CIELAB, and how far two colours are apart. Pure functions."""

from __future__ import annotations

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
_FAR = 25.0**7


def to_lab(rgb: Floats) -> Floats:
    """sRGB to CIELAB under D65 (CIE 15:2004), for the 2° observer.

    Args:
        rgb: (…, 3), values from 0 to 255 and what lies between them.

    Returns:
        (…, 3), of the precision that was given: L* from 0 to 100, a* and b*. Within 0.02 of libraries whose
        white point has fewer digits.
    """
    value = np.clip(rgb, 0, 255) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = np.stack([linear @ row for row in (_TO_XYZ / _WHITE[:, None]).astype(rgb.dtype)], axis=-1)
    bent = np.where(xyz > _BEND**3, np.cbrt(xyz), xyz / (3 * _BEND**2) + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def delta_e_2000(one: Floats, other: Floats) -> Floats:
    """The colour difference CIEDE2000, with all weights 1: about 1 is what can just be seen side by side.

    Args:
        one, other: (…, 3), L*, a* and b*; which of them comes first makes no difference.

    Returns:
        (…): 0 for equal colours; about 100 from black to white. The formula's own: within 0.0001 of the test
        pairs that were published with it.

    Source: G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", Color Research & Application 30(1), 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    chroma = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma / (chroma + _FAR))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    coloured = c1 * c2 > 0
    turn = (h2 - h1 + 180) % 360 - 180
    turn = np.where(coloured, np.where((turn == -180) & (h2 > h1), 180.0, turn), 0.0)
    hue = np.where(coloured, (h1 + turn / 2) % 360, h1 + h2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue)
    weight += 0.32 * _cos(3 * hue + 6) - 0.20 * _cos(4 * hue - 63)
    off = (light - 50) ** 2
    d_light = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    angle = 60 * np.exp(-(((hue - 275) / 25) ** 2))
    mixed = -2 * np.sqrt(chroma**7 / (chroma**7 + _FAR)) * np.sin(np.radians(angle))
    squared = d_light**2 + d_chroma**2 + d_hue**2 + mixed * d_chroma * d_hue
    return np.sqrt(np.maximum(squared, 0))


def _cos(degrees: Floats) -> Floats:
    return np.cos(np.radians(degrees))
