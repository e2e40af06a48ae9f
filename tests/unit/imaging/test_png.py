"""PNGs of our own writing: every pixel, for every reader."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mira_batch.imaging import encode_png


@given(
    st.sampled_from(["RGB", "RGBA"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_every_pixel_comes_back(mode: str, width: int, height: int, random: object) -> None:
    few = random.random() < 0.5  # type: ignore[attr-defined]
    data = bytes(
        random.choices(range(2 if few else 256), k=len(mode) * width * height)  # type: ignore[attr-defined]
    )
    image = Image.frombytes(mode, (width, height), data)
    encoded = encode_png(image)
    Image.open(io.BytesIO(encoded)).verify()  # checksums of all chunks
    again = Image.open(io.BytesIO(encoded))
    assert (again.format, again.mode, again.size) == ("PNG", mode, image.size)
    assert again.tobytes() == data and not again.info


def test_the_data_are_what_the_specification_says() -> None:
    """By zlib alone, without Pillow: each row its filter type 2, then the difference from the row above."""
    image = Image.linear_gradient("L").convert("RGB")
    encoded = encode_png(image)
    at = encoded.index(b"IDAT")
    rows = zlib.decompress(encoded[at + 4 : at + 4 + int.from_bytes(encoded[at - 4 : at], "big")])
    above = bytes(3 * 256)
    for number in range(256):
        row = rows[number * 769 : (number + 1) * 769]
        assert row[0] == 2
        above = bytes((up + byte) & 255 for up, byte in zip(above, row[1:], strict=True))
        assert above == image.tobytes()[number * 768 : (number + 1) * 768]
    assert len(rows) == 256 * 769 and encoded.endswith(b"IEND\xaeB`\x82")


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import sys; from PIL import Image; from mira_batch.imaging import encode_png; "
        "sys.stdout.buffer.write(encode_png(Image.radial_gradient('L').convert('RGB')))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert other == encode_png(Image.radial_gradient("L").convert("RGB"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "F"])
def test_what_no_edit_is_made_of_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="RGB or RGBA"):
        encode_png(Image.new(mode, (2, 2)))
