"""Words that stand for themselves: unquoted words to write, and the names of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mira_batch.models.embedded.grammar.tokens import Token
from mira_batch.models.embedded.grammar.words import POLITE, VERB_FORMS, words

_TEXT_NOUNS = words("watermark caption text label title words word saying says reading reads write stamp")
_LABELS = words("watermark text caption saying")
_NO_TEXT = words("none no not nil yes na n tbd tba see on off")
_NO_WORDS = _NO_TEXT.union(
    words(VERB_FORMS.replace(",", " ")),
    words(
        """nothing never null void empty blank ok okay true false keep delete erase default standard optional
        unknown unchanged untouched existing original current same as before later skip ignore todo tbc xxx
        pending required missing needed applicable do does my our your their here there above below attached
        attachment logo name text title caption watermark without example placeholder
        file png jpg jpeg pdf svg asap usual optionally any some whatever"""
    ),
)
"""Words that tell what to do about a text, or stand in for it; with one of them a text needs quotes."""
_AFTER_LABELLED = POLITE | words(
    "top bottom left right center centre middle upper lower in at on small large medium and then"
)
"""Words in small letters that may follow a text in an order form without a comma."""
_SYMBOLS = frozenset("©®™")
_CLOSING = frozenset((",", ".", ";", ")", "|", "&", "\n", "\r"))
"""What may touch the last word of a text without being a part of it."""
_GREETINGS = words("hi hello hey dear")
_FAREWELLS = words("best thanks thx cheers you regards greetings")
_NO_NAMES = _NO_TEXT | words(
    """undo stop cancel wait not never sorry restore revert redo unless only except delete save
    vignette emboss feather dodge burn clone heal mask liquify solarize sketch cartoonize stylize beautify
    denoise dehaze upscale enhance retouch smooth glow grain bokeh colorize colourize animate outline shadow
    reflection gradient duotone pixelate halftone mosaic swirl warp skew shear trim center centre remove erase
    replace swap clean fix polish refresh"""
)
"""Words that no name is taken for: edits, also those that are not carried out here."""

Knows = Callable[[str], bool]
"""Whether a word is one that the grammar knows."""


def find_plain_texts(tokens: Sequence[Token], knows: Knows) -> list[Token]:
    """Words to write that stand without quotes, as in "the watermark SAMPLE": in capitals, after such a noun.

    Nothing else is taken, since "Watermark: Keep" and "Text: Red Dress" may say anything.
    """
    done: list[Token] = []
    at = 0
    while at < len(tokens):
        end = _find_end(tokens, at, knows) if asks_for_text(done) else at
        if end > at:
            done.append(Token("plain", "", tokens[at].start, tokens[end - 1].end))
            at = end
        else:
            done.append(tokens[at])
            at += 1
    return done


def asks_for_text(before: Sequence[Token]) -> bool:
    """Whether words to write may follow: after "watermark", "watermark:", "watermark it with", "saying".

    Not where these are in capitals themselves: in "TEXT: KEEP IT" capitals tell nothing.
    """
    last = [t.raw for t in before[-4:]]
    if last and last[-1] == ":":
        return any(noun.lower() in _LABELS and not noun.isupper() for noun in last[-2:-1])
    if last and last[-1] == "with":
        return any(noun.lower() in ("watermark", "stamp", "label") for noun in last)
    if not last or last[-1].isupper() or last[-1].lower() not in _TEXT_NOUNS:
        return False
    return len(before) > 1 or last[-1].lower() == "watermark"


def _find_end(tokens: Sequence[Token], start: int, knows: Knows) -> int:
    """Where a text in capitals ends that starts here; `start` itself where none does, or a doubtful one."""
    end = start
    while end < len(tokens) and (count := _count_plain_text(tokens, start, end, knows)):
        end += count
    if end == start:
        return start
    named = [t.value for t in tokens[start:end] if t.kind == "word"]
    if len("".join(named)) < 2 or not _NO_WORDS.isdisjoint(named) or all(map(knows, named)):
        return start
    return start if _goes_on(tokens, end, tokens[start - 1].raw == ":") else end


def _goes_on(tokens: Sequence[Token], end: int, labelled: bool) -> bool:
    """Whether what follows may belong to the text: "SALE!", "PARIS, TOP", "DR. SMITH", "Text: SALE by us"."""
    if end == len(tokens):
        return False
    after = tokens[end]
    if tokens[end - 1].end == after.start and after.raw[0] not in _CLOSING:
        return True
    if labelled and after.kind == "word" and after.value not in _AFTER_LABELLED:
        return True
    while end < len(tokens) and _joins(tokens[end]):
        end += 1
    return end < len(tokens) and _is_capital(tokens[end])


def _joins(token: Token) -> bool:
    if token.kind == "joint":
        return not set(token.raw) & set(";|\r\n")
    return token.value in ("and", "or", "plus")


def _is_capital(token: Token) -> bool:
    return token.kind == "word" and token.raw.isupper()


def _count_plain_text(tokens: Sequence[Token], start: int, at: int, knows: Knows) -> int:
    """How many tokens from here belong to words to write; an "&" does between two such words in capitals."""
    if tokens[at].raw == "&" and at > start and at + 1 < len(tokens):
        near = (tokens[at - 1], tokens[at + 1])
        glued = near[0].end == tokens[at].start and tokens[at].end == near[1].start
        able = all(_is_capital(t) and (glued or not knows(t.value)) for t in near)
        return 2 if able else 0
    token = tokens[at]
    number = token.kind == "number" and token.value.isdigit()
    return int(_is_capital(token) or token.raw in _SYMBOLS or (number and at > start))


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
