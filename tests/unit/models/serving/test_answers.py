"""What models return: what passes, in which form, and what fails its record."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Axis, Judgement
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.answers import check_frame, check_judgement, check_text
from mira_batch.models.serving.images import keep_answer, lay_on_white

WHOLE = Judgement(
    0.5, "why", {"quality": Axis(7, 0, 10)}, "viescore/1", ("7", "8"), {"digit_mass": 0.9, "entropy": 0.4}
)


def refused(check: Any, answer: Any) -> RecordError:
    with pytest.raises(RecordError) as caught:
        check(answer)
    return caught.value


def half_a_png() -> Image.Image:
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.getvalue()[:-30]))


def closed() -> Image.Image:
    image = Image.new("RGB", (2, 2))
    image.close()
    return image


def test_every_field_of_a_judgement_is_kept() -> None:
    assert check_judgement(WHOLE) == WHOLE


def test_a_score_is_all_that_a_judge_must_give() -> None:
    assert check_judgement(Judgement(0.5, "why")) == Judgement(0.5, "why")
    assert check_judgement(SimpleNamespace(score=1)) == Judgement(1.0)
    assert check_judgement(SimpleNamespace(score=np.float32(0.25), reason=None)) == Judgement(0.25)
    assert type(check_judgement(SimpleNamespace(score=np.float32(0.25))).score) is float


@pytest.mark.parametrize("score", [float("nan"), 1.01, -0.1, float("inf"), "0.5", None, [0.5], True])
def test_what_is_no_score_is_a_fault_and_not_a_low_score(score: Any) -> None:
    error = refused(check_judgement, SimpleNamespace(score=score, reason=""))
    assert error.kind is ErrorKind.judge_failed
    assert str(error) == f"the judge gave {score!r}, not a score in [0, 1]"
    assert refused(check_judgement, object()).kind is ErrorKind.judge_failed


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("axes", {"quality": Axis(11, 0, 10)}, "11 on the axis quality, out of [0, 10]"),
        ("axes", {"quality": Axis(float("nan"), 0, 10)}, "nan as axis quality, not a finite number"),
        ("axes", {"quality": Axis(1, 0, float("inf"))}, "inf as axis quality"),
        ("axes", {"quality": 7}, "None as axis quality"),
        ("axes", {3: Axis(1, 0, 1)}, "as axes, not a mapping of names"),
        ("axes", [Axis(1, 0, 1)], "as axes, not a mapping of names"),
        ("protocol", None, "a NoneType as protocol, not text"),
        ("protocol", 1, "a int as protocol, not text"),
        ("raw", "all of it", "a str as raw, not a tuple of texts"),
        ("raw", (b"7",), "a bytes as raw, not text"),
        ("validity", {"entropy": float("nan")}, "nan as validity of entropy, not a finite number"),
        ("validity", {"entropy": "low"}, "'low' as validity of entropy"),
        ("validity", 0.5, "as validity, not a mapping of names"),
    ],
)
def test_a_field_of_another_form_is_a_fault(field: str, value: Any, words: str) -> None:
    error = refused(check_judgement, SimpleNamespace(score=0.5, **{field: value}))
    assert error.kind is ErrorKind.judge_failed
    assert str(error).startswith("the judge gave ") and words in str(error)


def test_half_characters_are_never_stored() -> None:
    found = check_judgement(Judgement(1, "a\ud83d", protocol="p\ud83d", raw=("r\ud83d",)))
    assert (found.reason, found.protocol, found.raw) == (r"a\ud83d", r"p\ud83d", (r"r\ud83d",))


def test_a_policys_text_passes_as_it_came() -> None:
    class Own(str):
        def __str__(self) -> str:
            return "another text"

    assert check_text("a\ud83d") == "a\ud83d"
    assert (check_text(Own("a")), type(check_text(Own("a")))) == ("a", str)
    assert isinstance(check_text(CutOff("a")), CutOff)


def test_a_policy_gives_text() -> None:
    assert refused(check_text, None).kind is ErrorKind.policy_failed


def check(image: Any, max_pixels: int = 100) -> Any:
    return check_frame(image, max_pixels)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("image", "returned a str, not a PIL image"),
        (None, "returned a NoneType, not"),
        (b"image", "returned a bytes, not"),
        (Image.Image, "returned a type, not"),
        (SystemExit(3), "returned a SystemExit, not"),
        (np.zeros((4, 6, 3), np.uint8), "a numpy.ndarray of shape (4, 6, 3) and type uint8, not a PIL image"),
        (torch.zeros(3, 4), "a torch.Tensor of shape (3, 4) and type torch.float32, not a PIL image"),
        ([Image.new("RGB", (2, 2))], "returned a list, not"),
        (Image.new("RGB", (0, 3)), "an empty image of 0 x 3"),
        (Image.new("I;16", (0, 0)), "an empty image of 0 x 0"),
        (Image.new("RGB", (11, 10)), "of 11 x 10 has more than 100 pixels (limits.max_result_pixels)"),
        (Image.new("F", (2, 2)), "the editor's image: pixel mode F has no exact form"),
        (Image.new("CMYK", (2, 2)), "the editor's image: is CMYK without an ICC profile"),
        (half_a_png(), "the editor's image can't be decoded: "),
        (closed(), "the editor's image can't be decoded: "),
    ],
)
def test_what_is_no_image_that_can_be_had_fails_the_record(answer: Any, words: str) -> None:
    error = refused(check, answer)
    assert error.kind is ErrorKind.editor_failed
    assert words in str(error)


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("L", "RGB"),
        ("P", "RGB"),
        ("LA", "RGBA"),
        ("I;16", "RGB"),
        ("1", "RGB"),
    ],
)
def test_an_image_becomes_rgb_or_rgba(mode: str, kept: str) -> None:
    frame = check(Image.new(mode, (3, 2)))
    assert (frame.pixels.mode, frame.size, len(frame.digest)) == (kept, (3, 2), 32)


def test_an_image_of_as_many_pixels_as_it_may_have_passes() -> None:
    assert check(Image.new("RGB", (10, 10))).size == (10, 10)


def test_an_image_that_is_too_large_is_not_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (400, 300)).save(buffer, "PNG")
    image = Image.open(buffer)
    assert "400 x 300" in str(refused(check, image))
    assert image.tile, "its pixels were not read"
    assert check(image, 120_000).size == (400, 300)
    large = Image.new("L", (11, 10))
    assert keep_answer(large, 100) is large and not large.readonly


def test_what_a_model_returned_stays_whatever_it_does_next() -> None:
    for mode in ("RGB", "L", "I;16"):
        image = Image.new(mode, (2, 2), 0)
        kept = keep_answer(image, 100)
        image.paste(1, (0, 0, 2, 2))
        assert np.asarray(kept).max() == 0
    keyed = Image.new("RGB", (2, 2))
    keyed.info["transparency"] = (0, 0, 0)
    assert check(keep_answer(keyed, 100)).pixels.mode == "RGBA"
    assert isinstance(keep_answer(closed(), 100), ValueError)
    assert isinstance(keep_answer(half_a_png(), 100), OSError)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    white = lay_on_white(Image.new(mode, (2, 2), 0))
    assert (white.mode, white.getpixel((0, 0))) == ("RGB", (255, 255, 255))
