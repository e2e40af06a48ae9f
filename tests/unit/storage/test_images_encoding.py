"""The forms that results are written in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mira_batch.config.edit import OutputConfig
from mira_batch.core.errors import RecordError
from mira_batch.imaging import encode_png
from mira_batch.storage.encoding import encode
from tests.support.pictures import corners
from tests.unit.storage.decoded import same, shown


def output(**settings: object) -> OutputConfig:
    return OutputConfig.model_validate({"uri": "/out"} | settings)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("form", [{"format": "png"}, {"format": "webp", "quality": 100}])
def test_lossless_forms_are_lossless(mode: str, form: dict[str, object]) -> None:
    image = corners(mode)
    if mode == "RGBA":
        image.putpixel((1, 1), (77, 88, 99, 0))
    assert same(shown(encode(image, output(**form))), image)


def test_png_is_the_form_of_the_step_log() -> None:
    """Its pixels as they were encoded there, and a profile before them."""
    logged = encode_png(corners())
    written = encode(corners(), output(format="png", quality=1))
    assert written.startswith(logged[:33]) and written.endswith(logged[33:])
    assert written == encode(corners(), output(), png=logged)


@pytest.mark.parametrize("form", ["webp", "jpeg"])
def test_quality_counts(form: str) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    small, large = (len(encode(noise, output(format=form, quality=q))) for q in (10, 95))
    assert small < large


def test_jpeg_shows_the_background_through_what_is_transparent() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    clear = shown(encode(image, output(format="jpeg", background="#0000FF", quality=100)))
    assert np.abs(np.asarray(clear).astype(int) - (0, 0, 255)).max() <= 3
    half = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    mixed = shown(encode(half, output(format="jpeg", quality=100)))
    assert np.abs(np.asarray(mixed).astype(int) - (255, 127, 127)).max() <= 4


@pytest.mark.parametrize(("form", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_what_a_format_cannot_hold_fails_its_record(form: str, side: int) -> None:
    with pytest.raises(RecordError, match=f"{side} x 1 image can't be written as {form}.*output.format png"):
        encode(Image.new("RGB", (side, 1)), output(format=form))
    assert Image.open(io.BytesIO(encode(Image.new("RGB", (side, 1)), output()))).size == (side, 1)
