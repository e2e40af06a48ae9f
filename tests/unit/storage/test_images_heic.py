"""HEIC, with the extra and without it; and the colours that it and AVIF can be in."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mira_batch.config.edit import InputConfig
from mira_batch.storage.heif import can_read_heif
from mira_batch.storage.images import decode_marked
from tests.support import ROOT
from tests.support.pictures import corners, encoded, matrix_profile
from tests.support.sources import COPYRIGHT, exif_of, xmp_of
from tests.unit.storage.decoded import shown, unreadable

SOURCE = InputConfig(manifest="/data/manifest.jsonl")
pytestmark = pytest.mark.skipif(not can_read_heif(), reason="the extra heic is not installed")


def test_it_is_decoded_upright_and_in_srgb_with_what_it_says() -> None:
    image = corners(size=(64, 48)).convert("RGB")
    image.paste((10, 200, 30), (0, 0, 64, 24))
    plain = shown(encoded(image, "HEIF", quality=100))
    wide = {"icc_profile": matrix_profile(2.2, wide=True)}
    rich = encoded(image, "HEIF", quality=100, exif=exif_of(), xmp=xmp_of(), **wide)
    pixels, marks = decode_marked(rich, "pic", SOURCE)
    assert (plain.size, pixels.size) == ((64, 48), (48, 64))
    moved = np.abs(np.asarray(pixels).astype(int) - np.rot90(np.asarray(plain), 3)).max()
    assert moved > 5, "converted from Display P3"
    assert (marks.rights.copyright, marks.source_type, marks.depth) == (COPYRIGHT, "digitalCapture", 8)


def test_depth_is_said() -> None:
    import pillow_heif

    deep = pillow_heif.from_bytes("RGB;16", (8, 8), bytes(8 * 8 * 6))
    buffer = io.BytesIO()
    deep.save(buffer, quality=90)
    assert decode_marked(buffer.getvalue(), "pic", SOURCE)[1].depth == 10


def test_several_pictures_and_damage_are_refused() -> None:
    image = Image.effect_noise((200, 100), 90).convert("RGB")
    several = encoded(image, "HEIF", save_all=True, append_images=[corners(size=(64, 48))])
    assert "has 2 frames" in unreadable(several)
    whole = encoded(image, "HEIF")
    assert "is damaged: " in unreadable(whole[: len(whole) // 2])
    assert "is damaged: " in unreadable(whole[:-1100] + bytes(1100))


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "found"),
    [
        (9, 16, "has the colour space BT.2020 with PQ and no ICC profile; convert it to sRGB"),
        (12, 13, "has the colour space Display P3 and no ICC profile"),
        (1, 18, "has the colour space HLG and no ICC profile"),
        (1, 13, ""),
        (2, 2, ""),
        (6, 6, ""),
    ],
)
def test_wide_and_hdr_colours_are_refused_by_name(
    form: str, primaries: int, transfer: int, found: str
) -> None:
    numbers = primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big")
    data = encoded(corners(), form)
    at = data.index(b"colrnclx") + 8
    data = data[:at] + numbers + data[at + 4 :]
    if found:
        assert found in unreadable(data)
    else:
        shown(data)


def test_without_the_extra_the_record_says_so() -> None:
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from mira_batch.config.edit import InputConfig; from mira_batch.storage.images import decode\n"
        "data = sys.stdin.buffer.read()\n"
        "try: decode(data, 'pic', InputConfig(manifest='/data/m.jsonl'))\n"
        "except Exception as error: print(error)"
    )
    data = encoded(corners(), "HEIF")
    done = subprocess.run([sys.executable, "-c", code], input=data, cwd=ROOT, capture_output=True, check=True)
    said = done.stdout.decode()
    assert "AVIF): it is HEIC, the format of phones; pip install 'mira-batch[heic]', or convert it" in said
