"""Encoded images and ICC profiles for tests, those among them that Pillow can't write made by hand."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import product
from typing import Any

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def corners(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    """An image that looks different however it is turned or mirrored."""
    image = Image.new("RGB", size, (10, 20, 30))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((size[0] - 1, 0), (0, 255, 0))
    image.putpixel((0, size[1] - 1), (0, 0, 255))
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], *extra: bytes) -> bytes:
    """A PNG by its parts. `colour`: 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return SIGNATURE + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, photometric: int, pixels: bytes) -> bytes:
    """A little-endian gray TIFF of one strip."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def matrix_profile(gamma: float, wide: bool, name: str = "made for a test") -> bytes:
    """An RGB profile with sRGB's primaries, or with those of Display P3."""
    srgb = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)]
    p3 = [(0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)]
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"desc": _description(name)}
    for letter, primary in zip(b"rgb", p3 if wide else srgb, strict=True):
        tags[bytes([letter]) + b"XYZ"] = _xyz(*primary)
        tags[bytes([letter]) + b"TRC"] = _curve(gamma)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def gray_profile(gamma: float) -> bytes:
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"kTRC": _curve(gamma), b"desc": _description("gray")}
    return _profile(b"mntr", b"GRAY", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """A CMYK profile of a toy printer: paper is white, black ink is black."""
    grid = b""
    for cyan, magenta, yellow, black in product((0, 1), repeat=4):
        light = max(0.0, 1 - 0.3 * cyan - 0.5 * magenta - 0.1 * yellow) * (1 - black)
        a = (70 * magenta - 35 * cyan) * (1 - black)
        b = (80 * yellow - 40 * cyan) * (1 - black)
        grid += bytes([round(255 * light), round(128 + a), round(128 + b)])
    ramp = bytes(range(256))
    matrix = b"".join(_fixed(1.0 if i % 4 == 0 else 0.0) for i in range(9))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"A2B0": table, b"desc": _description("printer")}
    return _profile(b"prtr", b"CMYK", b"Lab ", tags)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = tags | {b"cprt": b"text" + bytes(4) + b"none\0"}
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    header = struct.pack(">I", place + len(body)) + bytes(4) + bytes([2, 0x40, 0, 0]) + kind + space
    header += connection + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += _fixed(0.9642) + _fixed(1.0) + _fixed(0.8249)
    return header.ljust(128, b"\0") + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def _description(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
