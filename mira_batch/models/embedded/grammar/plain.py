"""Words that stand for themselves: unquoted words to write, and the names of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mira_batch.models.embedded.grammar.tokens import Token
from mira_batch.models.embedded.grammar.words import words

_TEXT_NOUNS = words("watermark caption text label title words word saying says reading reads write stamp")
_PLACES = words("top bottom left right center centre middle upper lower corner in at on small large medium")
_NO_TEXT = words("none no not nil yes na n tbd tba see on off")
_GREETINGS = words("hi hello hey dear")
_FAREWELLS = words("best thanks thx cheers you regards greetings")
_NO_NAMES = _NO_TEXT | words(
    "undo stop cancel wait not never sorry restore revert redo unless only except delete save"
)

Knows = Callable[[str], bool]
"""Whether a word is one that the grammar knows."""


def find_plain_texts(tokens: Sequence[Token], knows: Knows) -> list[Token]:
    """Words to write that stand without quotes, as in "the watermark SAMPLE": Capitalised, after such a noun.

    They end before the first word in small letters. Where everything is in capitals nothing can be told.
    """
    small = sum(t.kind == "word" and t.raw.islower() and len(t.raw) > 1 for t in tokens)
    capital = sum(t.kind == "word" and t.raw[:1].isupper() for t in tokens)
    labels_only = not small or capital * 2 > len(tokens)
    done: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        end = at
        if done and (_asks_for_text(done, labels_only) or _starts_watermark(tokens, at, labels_only)):
            while end < len(tokens) and (count := _count_plain_text(tokens, at, end, knows)):
                end += count
        if end > at and end < len(tokens) and tokens[end].value in _PLACES and tokens[end].raw[0].isupper():
            end = at  # "the caption Rotate Left": which of it is the place?
        if end > at:
            done.append(Token("plain", "", token.start, tokens[end - 1].end))
            at = end
        else:
            done.append(token)
            at += 1
    return done


def _asks_for_text(before: Sequence[Token], labels_only: bool) -> bool:
    """Whether words to write may follow: after "watermark", "watermark:", "watermark it with", "saying"."""
    last = [t.raw.lower() for t in before[-4:]]
    if last[-1] == ":":
        return last[-2:-1] in (["watermark"], ["text"], ["caption"], ["saying"])  # "Title: Red Mug" names it
    if labels_only:
        return False
    if last[-1] == "with" and any(noun in last for noun in ("watermark", "stamp", "label")):
        return True
    return bool(last) and last[-1] in _TEXT_NOUNS and len(before) > 1


def _starts_watermark(tokens: Sequence[Token], at: int, labels_only: bool) -> bool:
    """Whether an instruction begins with "watermark SAMPLE"."""
    raw = tokens[at].raw
    return at == 1 and tokens[0].value == "watermark" and raw.isupper() and len(raw) > 1 and not labels_only


def _count_plain_text(tokens: Sequence[Token], start: int, at: int, knows: Knows) -> int:
    """How many tokens from here belong to words to write; an "&" does between two such words in capitals."""
    if tokens[at].raw == "&" and at > start and at + 1 < len(tokens):
        near = (tokens[at - 1], tokens[at + 1])
        glued = near[0].end == tokens[at].start and tokens[at].end == near[1].start
        able = all(t.kind == "word" and t.raw.isupper() and (glued or not knows(t.value)) for t in near)
        return 2 if able else 0
    return 1 if _is_plain_text(tokens[at], at == start) else 0


def _is_plain_text(token: Token, first: bool) -> bool:
    if token.kind == "name" or token.raw in ("©", "®", "™"):
        return True
    if token.kind == "word":
        return token.raw[:1].isupper() and token.value not in _PLACES | _NO_TEXT
    return not first and token.kind == "number" and token.value.isdigit()


def mark_people(tokens: Sequence[Token], knows: Knows) -> list[Token]:
    """Gives names of people, in "Hi Tom," and in "Thanks, Ann Lee" at the very end, the value "person"."""
    people: set[int] = set()
    values = [t.value for t in tokens]
    greeted = len(tokens) > 2 and values[0] in _GREETINGS and tokens[2].value in (",", ";", "-")
    if greeted and _may_be_name(tokens[1], knows):
        people.add(1)
    end = len(tokens)
    while end and tokens[end - 1].raw in (".", "!"):
        end -= 1
    for count in (1, 2):
        start = end - count
        if start < 2 or not all(_may_be_name(t, knows) for t in tokens[start:end]):
            break
        parted = tokens[start - 1].raw == "," or set(tokens[start - 1].raw) <= set("\r\n")
        before = start - 1
        while before and tokens[before - 1].kind == "joint":
            parted, before = parted or set(tokens[before].raw) <= set("\r\n"), before - 1
        if parted and tokens[start - 1].kind == "joint" and values[before - 1] in _FAREWELLS:
            people.update(range(start, end))
    return [replace(t, value="person") if i in people else t for i, t in enumerate(tokens)]


def _may_be_name(token: Token, knows: Knows) -> bool:
    unknown = token.kind == "word" and token.raw.istitle() and not knows(token.value)
    return unknown and token.value not in _NO_NAMES
