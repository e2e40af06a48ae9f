"""The one JSON object of a model's answer. What could be read in two ways is none: nothing is guessed."""

from __future__ import annotations

import json
from typing import Any

from mira_batch.core.thoughts import CutOff, cut_thoughts


def read_object(text: str) -> dict[str, Any] | str:
    """The object that stands in an answer, or why there is none, in words. Never raises.

    Exactly one must stand in it, beside the thoughts of a model that thinks aloud; text around it is ignored,
    fences too, since models like to add a sentence. A second object, a key given twice, or one that is cut
    off is a fault.

    Args:
        text: what a model wrote, of any form; a `CutOff` where that isn't whole.
    """
    aloud = cut_thoughts(text)
    if isinstance(text, CutOff) or aloud.unclosed:
        return "it was cut off, or its thoughts don't end"
    start = aloud.answer.find("{")
    if start < 0:
        return "it holds no JSON object"
    try:
        found, end = _DECODER.raw_decode(aloud.answer, start)
    except (ValueError, RecursionError) as error:
        return f"its JSON object can't be read: {error}"
    return "it holds more than one JSON object" if "{" in aloud.answer[end:] else found


def _read_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_read_pairs, parse_constant=_refuse_constant)
