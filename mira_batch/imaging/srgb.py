"""The ICC profile of sRGB, as every result carries it.

Written out here, and not made by the colour library: that puts the time of day into its profiles, and results
are to be the same bytes after a resume, on another machine, and with another release of the library.
"""

from __future__ import annotations

import struct

_D50 = (0x0000F6D6, 0x00010000, 0x0000D32D)
_PRIMARIES = {
    b"r": (0x6FA2, 0x38F5, 0x0390),
    b"g": (0x6299, 0xB785, 0x18DA),
    b"b": (0x24A0, 0x0F84, 0xB6CF),
}
"""Red, green and blue of IEC 61966-2-1 as seen under D50, in 65536ths."""
_ADAPTATION = (1.04788, 0.02292, -0.0502, 0.02959, 0.99048, -0.01707, -0.00925, 0.01508, 0.75168)
"""From D65, sRGB's own white, to D50 (Bradford)."""
_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""(a x + b) ** g from d on, c x below: g, a, b, c, d."""


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: tuple[int, ...]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(data), 28) + data


def _build() -> bytes:
    """A profile of version 4 with a parametric curve, which is exact, in some 500 bytes."""
    curve = struct.pack(">4s4xH2x", b"para", 3) + _fixed(*_CURVE)
    tags = {b"desc": _text("sRGB"), b"cprt": _text("CC0"), b"wtpt": _xyz(_D50)}
    tags[b"chad"] = b"sf32" + bytes(4) + _fixed(*_ADAPTATION)
    for letter, primary in _PRIMARIES.items():
        tags[letter + b"XYZ"] = _xyz(primary)
        tags[letter + b"TRC"] = curve
    at = 128 + 4 + 12 * len(tags)
    table, body, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for name, data in tags.items():
        if data not in places:  # the three curves are one
            places[data] = at + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, places[data], len(data))
    header = struct.pack(">I4xI4s4s4s", at + len(body), 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3I", *_D50)
    return header.ljust(128, b"\0") + table + body


SRGB = _build()
"""The encoded profile."""
