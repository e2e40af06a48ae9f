"""How scores are read from a judge's words. Each function gives exactly the scores that were asked for, or
raises: nothing is guessed, clamped or left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mira_batch.core.json_answer import read_object
from mira_batch.core.thoughts import CutOff, cut_thoughts

_NUMBER = re.compile(r"(?P<value>[+-]?[0-9]+(?:\.[0-9]+)?)(?:\s*/\s*(?P<of>[0-9]+))?", re.ASCII)
_REMARK = re.compile(r"\s*[.。]?\s*(?:[(（].*[)）])?\s*[.。]?")
"""What may follow a number in a line: a full stop, and a remark in brackets."""
_SCALE = re.compile(r"[(（]\s*(?:(?:out\s+)?of|/)\s*(?P<of>[0-9]+)", re.ASCII | re.IGNORECASE)
"""At the beginning of a remark: of which scale the number is, `(out of 10)`."""
_BEFORE = re.compile(r"^[\s*_#>`•·-]*(?:[0-9]+[.)]\s+)?[*_`]*")
"""Marks of lists and of bold type before the name of an axis."""
_REFUSALS = re.compile(
    r"\bi(?:['’]m| am) (?:very |so |really )?sorry\b|^\W*sorry\b"
    r"|\bi (?:can(?:no|['’])t|am (?:not able|unable)|won['’]t)\b"
    r"|\bi['’]m (?:not able|unable)\b|\bas an ai\b|\bcan(?:no|['’])t (?:assist|help|comply)\b"
    r"|抱歉|对不起|對不起|我(?:无法|無法|不能)|申し訳|できません|죄송|할 수 없"
    r"|\bes tut mir leid\b|\bich kann (?:das|dies\w*|ihnen|dir)? ?(?:leider )?nicht\b"
    r"|\bje suis désolée?\b|\bje ne peux pas\b|\blo siento\b|\bno puedo\b|\bmi dispiace\b|\bnon posso\b"
    r"|\bdesculpe\b|\bnão posso\b|\bизвините\b|\bне могу\b",
    re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\b(?:can(?:no|['’])t|unable to|not able to|won['’]t) "
    r"(?:assist|help|comply|evaluate|judge|assess|rate)\b",
    re.IGNORECASE,
)
"""Of a model that keeps to the form and still gives no verdict."""
_OPENING = 400
"""Characters in which a refusal shows; later words may be part of a reason."""


class Unreadable(Exception):
    """An answer that doesn't hold the scores that were asked for."""

    def __init__(self, problem: str, text: str, declines: bool = False) -> None:
        """
        Args:
            problem: what is wrong with it.
            text: the answer as it came.
            declines: whether it is known to be a refusal.
        """
        super().__init__(problem)
        self.text = text
        self._declines = declines

    @property
    def is_refusal(self) -> bool:
        """Whether the model declines, rather than answers in another form."""
        return self._declines or _REFUSALS.search(cut_thoughts(self.text).answer[:_OPENING]) is not None


def read_fields(text: str) -> dict[str, Any]:
    """The one JSON object of an answer.

    Args:
        text: the answer.

    Raises:
        Unreadable: there is none, or more than one.
    """
    if not text.strip():
        raise Unreadable("it is empty", text)
    found = read_object(text)
    if isinstance(found, str):
        raise Unreadable(found, text)
    return found


def read_scores(text: str, names: Sequence[str], high: float) -> tuple[tuple[float, ...], str]:
    """The scores of a JSON answer, one for each name and each of 0 to `high`, and the reasoning.

    Args:
        text: the answer: `{"score": [8, 7], "reasoning": "…"}`, with whatever around it.
        names: what the scores are of, in order.
        high: the greatest of the scale.

    Raises:
        Unreadable: it holds other scores than those, or none.
    """
    found = read_fields(text)
    scores = found.get("score")
    if not isinstance(scores, list) or len(scores) != len(names):
        raise Unreadable(f"its score is not a list of {len(names)} ({', '.join(names)})", text)
    reasoning = found.get("reasoning", "")
    if not isinstance(reasoning, str):
        raise Unreadable("its reasoning is no text", text)
    values = tuple(
        _read_number(name, score, 0, high, text) for name, score in zip(names, scores, strict=True)
    )
    if not any(values) and _DECLINES.search(reasoning[:_OPENING]):
        raise Unreadable("its zeros stand for a refusal", text, declines=True)
    return values, reasoning.strip()


def read_lines(text: str, names: Sequence[str], low: float, high: float) -> tuple[float, ...]:
    """The scores of lines `Name: n`, one for each name, in any order, with other lines between them.

    Args:
        text: the answer.
        names: of the axes.
        low: the least of the scale.
        high: the greatest of it.

    Raises:
        Unreadable: an axis is missing or there twice, or its score is no number of the scale.
    """
    if not text.strip():
        raise Unreadable("it is empty", text)
    aloud = cut_thoughts(text)
    if isinstance(text, CutOff) or aloud.unclosed:
        raise Unreadable("it was cut off, or its thoughts don't end", text)
    found: dict[str, list[str]] = {name: [] for name in names}
    for line in aloud.answer.splitlines():
        label, colon, rest = _BEFORE.sub("", line, count=1).replace("：", ":").partition(":")
        for name in names:
            if colon and _fold(label) == _fold(name):
                found[name].append(rest)
    for name, values in found.items():
        if len(values) != 1:
            raise Unreadable(f"it holds {'no' if not values else 'more than one'} line of {name}", text)
    return tuple(_read_number(name, values[0], low, high, text) for name, values in found.items())


def _read_number(name: str, value: Any, low: float, high: float, text: str) -> float:
    """A number of the scale, or a text such as `4`, `4/5` or `**4** (nearly)`."""
    if isinstance(value, str):
        bare = value.replace("*", "").replace("`", "").strip()
        found = _NUMBER.match(bare)
        if found is None or not _REMARK.fullmatch(bare, found.end()):
            raise Unreadable(f"its {name} is no number: {value.strip()[:40]!r}", text)
        for scale in (found, _SCALE.search(bare, found.end())):
            if scale is not None and scale["of"] is not None and float(scale["of"]) != high:
                raise Unreadable(f"its {name} is of {scale['of']}, not of {high:g}", text)
        value = float(found["value"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"its {name} is no number", text)
    if not low <= value <= high:
        # An int of an answer may be more than any float.
        shown = f"{value:.12g}" if abs(value) < 1e300 else "far too large"
        raise Unreadable(f"its {name} is {shown}, out of [{low:g}, {high:g}]", text)
    return float(value) + 0.0  # no -0


def _fold(label: str) -> str:
    """A label for comparing, whatever its case, spaces and marks."""
    return " ".join(re.sub(r"[*_`]", "", label).replace("&", " and ").casefold().split())
