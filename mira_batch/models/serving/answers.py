"""What models return, checked, so that a job can trust it. A model's fault is a fault, never a low score."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from mira_batch.core.answers import Answered
from mira_batch.core.errors import RecordError, describe
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import Axis, Judgement
from mira_batch.core.text import clean_text
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.serving.images import find_size_problem

_ROUNDED = 1e-3
"""As much above 0 the logarithm of a probability may be, by rounding."""


def check_text(answer: Any) -> str:
    """A policy's answer as it came: the loop reads it before it cleans it, since half a character says that
    an edit is broken.

    Raises:
        RecordError: it is no text.
    """
    if not isinstance(answer, str):
        raise RecordError(
            ErrorKind.policy_failed, f"the policy answered with a {type(answer).__name__}, not with text"
        )
    if not isinstance(answer, Answered):
        return str.__str__(answer)
    if answer.tokens is not None:
        _check_tokens(answer.tokens)
    return answer


def _check_tokens(tokens: Any) -> None:
    ids, logprobs = getattr(tokens, "ids", ()), getattr(tokens, "logprobs", None)
    if not isinstance(logprobs, tuple) or not all(_is_logprob(value) for value in logprobs):
        problem = "logarithms of probabilities, which are 0 or less"
    elif ids is not None and (not isinstance(ids, tuple) or not all(isinstance(i, int) for i in ids)):
        problem = "ids, which are integers"
    elif ids is not None and len(ids) != len(logprobs):
        problem = f"as many logprobs as ids: {len(logprobs)} and {len(ids)}"
    else:
        return
    raise RecordError(ErrorKind.policy_failed, f"the tokens of the policy's answer lack {problem}")


def _is_logprob(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value < _ROUNDED


def check_frame(image: Any, max_pixels: int) -> Frame:
    """An editor's image with its digest, converted as the images of a manifest are.

    Args:
        image: what the editor gave; an image that isn't decoded yet is.
        max_pixels: the most it may have.

    Raises:
        RecordError: it is no PIL image, is empty, too large or damaged, or has no exact form in 8-bit RGB.
    """
    from PIL.Image import Image

    from mira_batch.imaging import UnfitImage, load_whole, refuse_frames, to_srgb

    if not isinstance(image, Image):
        raise RecordError(
            ErrorKind.editor_failed, f"the editor returned {_describe_type(image)}, not a PIL image"
        )
    if problem := find_size_problem(image, max_pixels):
        raise RecordError(ErrorKind.editor_failed, problem)
    try:
        refuse_frames(image)
        data = _find_encoded(image)
        if data:
            load_whole(image, data)
        else:
            image.load()
        return frame_of(to_srgb(image, data))
    except MemoryError:
        raise
    except UnfitImage as error:
        raise RecordError(ErrorKind.editor_failed, f"the editor's image: {error}") from error
    except Exception as error:  # the boundary of foreign bytes: decoders raise anything on them
        words = f"the editor's image can't be decoded: {describe(error)}"
        raise RecordError(ErrorKind.editor_failed, words) from error


def _find_encoded(image: Any) -> bytes:
    """What an image of an endpoint, which isn't decoded yet, was opened from; empty of any other."""
    opened = getattr(image, "fp", None)
    return opened.getvalue() if isinstance(opened, io.BytesIO) else b""


def _describe_type(value: Any) -> str:
    """What somebody returned: with its shape, for arrays and tensors."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"a {name}"
    return f"a {name} of shape {tuple(shape)} and type {getattr(value, 'dtype', '?')}"


def check_judgement(answer: Any) -> Judgement:
    """A judge's verdict, whole: of a `Judgement`, or of any object that has a `score` and maybe more of it.

    Raises:
        RecordError: a field has another type, or a number is not finite or out of its range.
    """
    score: Any = getattr(answer, "score", None)
    if isinstance(score, bool) or not isinstance(score, SupportsFloat) or not 0.0 <= float(score) <= 1.0:
        raise RecordError(ErrorKind.judge_failed, f"the judge gave {score!r}, not a score in [0, 1]")
    reason = getattr(answer, "reason", None)
    return Judgement(
        float(score),
        "" if reason is None else clean_text(str(reason)),
        {name: _check_axis(name, axis) for name, axis in _read_mapping(answer, "axes")},
        _read_text("protocol", getattr(answer, "protocol", "")),
        _check_raw(getattr(answer, "raw", ())),
        {
            name: _read_number(f"validity of {name}", value)
            for name, value in _read_mapping(answer, "validity")
        },
    )


def _check_axis(name: str, axis: Any) -> Axis:
    parts = [getattr(axis, part, None) for part in ("value", "low", "high")]
    value, low, high = (_read_number(f"axis {name}", part) for part in parts)
    if not low <= value <= high:
        raise _refuse(f"{value:g} on the axis {name}, out of [{low:g}, {high:g}]")
    return Axis(value, low, high)


def _check_raw(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, tuple | list):
        raise _refuse(f"a {type(raw).__name__} as raw, not a tuple of texts")
    return tuple(_read_text("raw", text) for text in raw)


def _read_mapping(answer: Any, field: str) -> list[tuple[str, Any]]:
    """The entries of a field that maps names; none where it isn't there."""
    found = getattr(answer, field, None)
    if found is None:
        return []
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise _refuse(f"{found!r:.200} as {field}, not a mapping of names")
    return list(found.items())


def _read_text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(f"a {type(value).__name__} as {field}, not text")
    return clean_text(value)


def _read_number(what: str, value: Any) -> float:
    if not isinstance(value, SupportsFloat) or not math.isfinite(float(value)):
        raise _refuse(f"{value!r:.200} as {what}, not a finite number")
    return float(value)


def _refuse(words: str) -> RecordError:
    return RecordError(ErrorKind.judge_failed, f"the judge gave {words}")
