"""Whether the scans of a JPEG make up the whole picture."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import encoded
from tests.unit.storage.decoded import shown, unreadable

NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (61, 83, 3), np.uint8))
SCAN = re.compile(rb"\xff\xda")
LACKS = "is damaged: it lacks some of its scans, and so detail or colour; copy or export it again"


def part(data: bytes) -> list[bytes]:
    """What is before the scans, and each of them with the tables that precede it, without the end."""
    places = [found.start() for found in SCAN.finditer(data)]
    starts = [places[0]]
    for place, following in pairwise(places):
        table = data.find(b"\xff\xc4", place, following)
        starts.append(following if table < 0 else table)
    ends = [*starts[1:], len(data) - 2]
    return [data[: starts[0]], *(data[a:b] for a, b in zip(starts, ends, strict=True))]


FORMS: list[dict[str, Any]] = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 0, "quality": 100},
    {"quality": 3, "optimize": True},
    {"restart_marker_rows": 1},
    {"keep_rgb": True},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_progressive_jpeg_needs_all_its_scans(form: dict[str, Any], mode: str) -> None:
    data = encoded(NOISE.convert(mode), "JPEG", progressive=True, **form)
    head, *scans = part(data)
    assert len(scans) >= 6 - 3 * form.get("keep_rgb", False)
    assert head + b"".join(scans) + b"\xff\xd9" == data
    assert shown(data).size == NOISE.size
    assert shown(data.replace(b"\xff\xda", b"\xff\xff\xff\xda")).size == NOISE.size, "fill bytes"
    for kept in range(1, len(scans)):
        assert unreadable(head + b"".join(scans[:kept]) + b"\xff\xd9").endswith(LACKS), kept


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (640, 480)])
def test_a_progressive_jpeg_of_any_contents_is_taken_whole(size: tuple[int, int]) -> None:
    for image in (NOISE.resize(size), Image.new("RGB", size, (9, 90, 200)), Image.new("L", size)):
        for quality in (1, 50, 95):
            assert shown(encoded(image, "JPEG", progressive=True, quality=quality)).size == size


def test_a_scan_in_the_middle_that_is_missing_is_missed() -> None:
    head, *scans = part(encoded(NOISE, "JPEG", progressive=True))
    for gone in range(1, len(scans)):
        rest = b"".join(scan for number, scan in enumerate(scans) if number != gone)
        assert "is damaged: " in unreadable(head + rest + b"\xff\xd9")


def test_a_preview_within_the_file_is_not_the_picture() -> None:
    """A first scan alone in a camera's APP1 segment."""
    head, first, *_ = part(encoded(NOISE.resize((8, 8)), "JPEG", progressive=True))
    preview = b"Exif\0\0" + head + first + b"\xff\xd9"
    segment = b"\xff\xe5" + (2 + len(preview)).to_bytes(2, "big") + preview
    data = encoded(NOISE, "JPEG", progressive=True)
    assert shown(data[:2] + segment + data[2:]).tobytes() == shown(data).tobytes()


def test_a_sequential_jpeg_needs_a_scan_for_each_colour() -> None:
    """Three gray ones, each made the scan of one component."""
    planes = [encoded(plane, "JPEG") for plane in NOISE.convert("YCbCr").split()]
    at = planes[0].index(b"\xff\xc0")
    length = int.from_bytes(planes[0][at + 2 : at + 4], "big")
    frame = bytearray(planes[0][at : at + 2 + length])
    frame[2:4], frame[9:] = (17).to_bytes(2, "big"), b"\3" + b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    first = planes[0].index(b"\xff\xda")
    head = planes[0][:at] + bytes(frame) + planes[0][at + 2 + length : first]
    scans = [bytearray(plane[plane.index(b"\xff\xda") : -2]) for plane in planes]
    for number, scan in enumerate(scans):
        scan[5] = number + 1
    whole = head + b"".join(scans) + b"\xff\xd9"
    expected = np.asarray(NOISE).astype(int)
    assert np.abs(np.asarray(shown(whole)).astype(int) - expected).mean() < 25, "quality 75 of noise"
    for kept in (1, 2):
        assert unreadable(head + b"".join(scans[:kept]) + b"\xff\xd9").endswith(LACKS)
