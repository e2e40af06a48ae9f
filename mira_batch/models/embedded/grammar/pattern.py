"""Rules of phrases as data: a small notation, and what compiles it.

    [by] {degrees} [{way}]          words and values in order; what is in [brackets] may be missing
    mirror|flip horizontally        one of several words
    ( in {colour} / {colour} tint ) one of several phrases
    dim [{it}] down => way=-        what the phrase says without a value of its own

A phrase is matched against the normalised text of `words.py`, where each token ends with one space. Words in
braces are values or phrases with a name; `{px:width}` gives a value another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_ITEM = re.compile(r"\{[^}]*\}|[\[\]()/]|[^\s\[\](){}/]+")
_NUMBER, _COLOUR, _QUOTED = "0", "@", '"'
"""What a token that is no word begins with, as `first_of` tells it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value: how it looks in the normalised text (`KEY` is its name), and what its first token may be."""

    regex: str
    first: tuple[str, ...] = (_NUMBER,)


Names = Mapping[str, "Value | str"]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A compiled phrase."""

    regex: re.Pattern[str]
    first: frozenset[str]
    """What its first token may be."""
    says: tuple[tuple[str, str], ...]
    """What it says without a value."""

    def read(self, text: str, at: int) -> tuple[dict[str, str], int] | None:
        """What the phrase says where it stands at this place, and where it ends."""
        match = self.regex.match(text, at)
        if match is None:
            return None
        return {k: v for k, v in match.groupdict().items() if v} | dict(self.says), match.end()


Index = Mapping[str, Sequence[Pattern]]
"""Phrases by what their first token may be."""


def index_patterns(patterns: Sequence[Pattern]) -> Index:
    index: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        for first in pattern.first:
            index.setdefault(first, []).append(pattern)
    return index


def first_of(text: str, at: int) -> str:
    """The first token at this place: a word itself, of others only what kind it is."""
    token = text[at : text.find(" ", at)]
    head = token[:1]
    return _NUMBER if head.isdigit() or (head in "+-" and len(token) > 1) else head if head in '@"' else token


def compile_pattern(source: str, names: Names, form: str = "") -> Pattern:
    """Compile a phrase.

    Args:
        source: in the notation of this module.
        names: what may stand in braces.
        form: the ending that its first word, a verb, shall have in the normalised text ("+ing").
    """
    phrase, _, said = source.partition("=>")
    items = iter(_ITEM.findall(phrase))
    regex, first, _ = _compile_sequence(items, names, form)
    says = tuple((k, v) for k, _, v in (part.partition("=") for part in said.split()))
    return Pattern(re.compile(regex), frozenset(first), says)


def words_of(sources: Sequence[str], names: Names) -> set[str]:
    """All words that these phrases are made of."""
    found: set[str] = set()
    for source in sources:
        for item in _ITEM.findall(source.partition("=>")[0]):
            if item.startswith("{"):
                value = names[item[1:-1].partition(":")[0]]
                found |= words_of([value], names) if isinstance(value, str) else set()
            else:
                found |= {word for word in item.split("|") if word.isalpha()}
    return found


def _compile_sequence(
    items: Iterator[str], names: Names, form: str = "", end: str = ""
) -> tuple[str, set[str], bool]:
    """The regex up to the closing bracket, what it may begin with, and whether it may be empty."""
    ways: list[tuple[str, set[str], bool]] = []
    regex, first, empty = "", set[str](), True
    for item in items:
        if item == end:
            break
        if item == "/":
            ways.append((regex, first, empty))
            regex, first, empty = "", set(), True
            continue
        part, starts, optional = _compile_item(item, items, names, form if empty else "")
        regex += part
        first |= starts if empty else set()
        empty = empty and optional
    if ways:
        ways.append((regex, first, empty))
        regex = f"(?:{'|'.join(way for way, _, _ in ways)})"
        first = set().union(*(starts for _, starts, _ in ways))
        empty = any(optional for _, _, optional in ways)
    return regex, first, empty


def _compile_item(item: str, items: Iterator[str], names: Names, form: str) -> tuple[str, set[str], bool]:
    if item == "[":
        regex, first, _ = _compile_sequence(items, names, end="]")
        return f"(?:{regex})?", first, True
    if item == "(":
        return _compile_sequence(items, names, form, ")")
    if not item.startswith("{"):
        words = [word + form for word in item.split("|")]
        return f"(?:{'|'.join(map(re.escape, words))}) ", set(words), False
    name, _, key = item[1:-1].partition(":")
    value = names[name]
    if isinstance(value, Value):
        return value.regex.replace("KEY", key or name), set(value.first), False
    return _compile_sequence(iter(_ITEM.findall(f"( {value} )")[1:]), names, end=")")
