"""Whether the data of a PNG reach to the end of its picture, and whether it has the palette that it needs."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import SIGNATURE, chunk, encoded, png
from tests.unit.storage.decoded import shown, unreadable

END = chunk(b"IEND", b"")
PALETTE = chunk(b"PLTE", bytes([0, 0, 0, 90, 80, 70]))
KINDS = [(0, 1), (0, 2), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 4), (4, 8), (4, 16), (6, 8), (6, 16)]
"""Colour type and depth."""
SHORT = "is damaged: its data end before the picture does; copy or export it again"


def build(width: int, height: int, colour: int, depth: int, pixels: bytes, laced: bool = False) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, laced))
    palette = PALETTE if colour == 3 else b""
    return SIGNATURE + header + palette + chunk(b"IDAT", zlib.compress(pixels)) + END


def length(width: int, height: int, colour: int, depth: int) -> int:
    """Bytes of one row with its filter, for a picture that is at least a pixel wide."""
    return 1 + -(-width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] // 8)


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_a_png_without_its_last_rows_is_refused(colour: int, depth: int) -> None:
    for width, height in ((1, 2), (9, 7), (300, 40)):
        row = b"\0" + b"\1" * (length(width, height, colour, depth) - 1)
        for rows in {1, height // 2, height - 1}:
            assert unreadable(build(width, height, colour, depth, row * rows)).endswith(SHORT)
        assert shown(build(width, height, colour, depth, row * height)).size == (width, height)
        black = b"\0" * len(row)
        for whole in (black * height, row + black * (height - 1), black * height + b"more than there is"):
            assert shown(build(width, height, colour, depth, whole)).size == (width, height)


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_each_pass_of_an_interlaced_png_is_counted(colour: int, depth: int) -> None:
    """For 5 x 3 they are 1 x 1, 1 x 1, none, 1 x 1, 3 x 1, 2 x 2 and 5 x 1; for 1 x 1 only the first is."""
    passes = [(1, 1), (1, 1), (1, 1), (3, 1), (2, 2), (5, 1)]
    whole = sum(rows * length(width, rows, colour, depth) for width, rows in passes)
    assert shown(build(5, 3, colour, depth, bytes(whole), laced=True)).size == (5, 3)
    assert "is damaged: " in unreadable(build(5, 3, colour, depth, bytes(whole - 1), laced=True))
    last = length(5, 1, colour, depth)
    assert "is damaged: " in unreadable(build(5, 3, colour, depth, bytes(whole - last), laced=True))
    assert shown(build(1, 1, colour, depth, bytes(length(1, 1, colour, depth)), laced=True)).size == (1, 1)


def test_the_data_may_come_in_many_chunks() -> None:
    """Of a picture that is black below."""
    pixels = np.zeros((700, 900, 3), np.uint8)
    pixels[:300] = np.random.default_rng(3).integers(0, 256, (300, 900, 3))
    data = encoded(Image.fromarray(pixels), "PNG")
    assert data.count(b"IDAT") > 3
    assert shown(data).tobytes() == pixels.tobytes()
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    head = data[: data.index(b"IDAT") - 4]
    pieces = [chunk(b"IDAT", packed[at : at + 1000]) for at in range(0, len(packed), 1000)]
    assert shown(head + b"".join(pieces) + END).tobytes() == pixels.tobytes()
    assert "is damaged: " in unreadable(head + b"".join(pieces[:-1]) + END)
    parted = [*pieces[:5], chunk(b"tIME", bytes(7)), *pieces[5:]]
    assert "is damaged: " in unreadable(head + b"".join(parted) + END)


def test_a_png_of_a_palette_that_it_lacks_is_refused() -> None:
    good = png(4, 1, 8, 3, [bytes([0, 1, 1, 0])], PALETTE)
    assert shown(good).getpixel((1, 0)) == (90, 80, 70)
    assert "a palette, which it lacks; copy or export" in unreadable(png(4, 1, 8, 3, [bytes([0, 1, 1, 0])]))
    late = good.replace(PALETTE, b"").replace(END, PALETTE + END)
    assert "a palette, which it lacks" in unreadable(late)


def test_a_palette_in_a_picture_of_full_colours_is_left() -> None:
    assert shown(png(1, 1, 8, 2, [b"\1\2\3"], PALETTE)).getpixel((0, 0)) == (1, 2, 3)
