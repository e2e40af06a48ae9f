"""What is compared, and merged, of instructions: their words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

_REFERS = re.compile(
    r"\b(?:it|its|itself|them|they|their|theirs|this|that|these|those|he|him|his|she|her|hers|one|ones|same|"
    r"again|also|too|another|previous|previously|earlier|before|former|latter|instead|undo|revert|"
    r"round\s*\d+|turn\s*\d+|step\s*\d+|more|even|still|back|now|then|other)\b",
    re.IGNORECASE,
)
"""Words by which an edit speaks of an earlier one. Some of them stand in plain edits, too ("move it to the
back"): where in doubt an edit counts as one that refers back."""
_PLACE = re.compile(
    r"\b(?:left|right|top|bottom|above|below|behind|beside|next|near|under|over|between|front|middle|centre|"
    r"center|corner|first|second|third|last|largest|smallest|biggest|all|every|everything|each|both|only|"
    r"remaining|rest|entire|whole|image|picture|photo|photograph|scene|background|foreground|style|sky|"
    r"lighting|light|colours?|colors?|tones?|brightness|contrast|saturation|night|day|season|weather|"
    r"crop|rotate|flip|mirror|resize|zoom|scale|border|frame|blur|sharpen|grayscale|monochrome|sepia)\b",
    re.IGNORECASE,
)
"""Words by which an edit is about the whole picture, or about where or which things are: another edit may
change what they mean."""
_SMALL = frozenset(
    [
        "a",
        "s",  # of a possessive
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "without",
        "into",
        "onto",
        "and",
        "or",
        "as",
        "is",
        "are",
        "be",
        "so",
        "please",
        "can",
        "could",
        "would",
        "you",
        "make",
        "let",
        "put",
        "add",
        "remove",
        "change",
        "turn",
        "replace",
        "give",
        "have",
        "has",
        "do",
        "does",
        "colour",
        "color",
        "set",
        "place",
        "move",
    ]
)
_WORD = re.compile(r"[^\W_ʹʻʼ]+")
_PLURALS = (
    ("s", ("",)),  # dogs
    ("es", ("", "is")),  # boxes, oases
    ("sses", ("s",)),  # busses
    ("zzes", ("z",)),  # quizzes
    ("ies", ("y",)),  # puppies
    ("ves", ("f", "fe")),  # leaves, knives
    ("ices", ("ix", "ex")),  # matrices
    ("i", ("us",)),  # cacti
    ("ae", ("a",)),  # larvae
    ("a", ("um", "on")),  # strata, phenomena
    ("x", ("",)),  # gateaux
)
"""Endings of plurals, and what stands in their place in a singular."""
_IRREGULAR = {
    "men": "man",  # and so women, firemen
    "people": "person",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "lice": "louse",
    "dice": "die",
    "oxen": "ox",
}
"""Plurals that follow no rule, also at the end of a longer word, and their singulars."""
_PEOPLE = frozenset(
    ["person", "human", "man", "woman", "child", "boy", "girl", "kid", "baby", "toddler", "teenager",
     "adult", "lady", "gentleman", "guy", "crowd", "family", "couple"]
)  # fmt: skip
"""Who may be among others of these: "the people" may well be the woman."""


def normalise(text: str) -> str:
    """A text by which near-duplicates are one: NFKC, casefolded, white space as single blanks, no full stop
    at the end."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .!")


def refers_back(instruction: str) -> bool:
    """Whether an edit may speak of an earlier one, and so can't be understood by itself."""
    return _REFERS.search(unicodedata.normalize("NFKC", instruction)) is not None


def are_independent(instructions: Sequence[str]) -> bool:
    """Whether edits surely can be made in any order, by their words alone; errs on the side of no.

    None may refer back, name a place or speak of the whole picture, and no two may share a word other than
    small ones and verbs of editing, in the singular or the plural: they could be about the same thing.
    """
    if any(refers_back(text) or _PLACE.search(text) for text in instructions):
        return False
    words = [_find_stems(text) for text in instructions]
    return all(words) and all(one.isdisjoint(other) for one, other in combinations(words, 2))


def _find_stems(text: str) -> frozenset[str]:
    """What its words may be forms of; of a compound and a possessive its parts: "t-shirt", "dog's"."""
    found = (word for word in _WORD.findall(normalise(text)) if word not in _SMALL)
    return frozenset(stem for word in found for stem in _list_stems(word))


def _list_stems(word: str) -> Iterator[str]:
    """A word, and all that it may be the plural of. One too many does no harm: "gas" is no "ga", but then
    nothing else is either."""
    singulars = {word}
    for end, replacements in _PLURALS:
        if len(word) > len(end) and word.endswith(end):
            singulars.update(word.removesuffix(end) + replacement for replacement in replacements)
    for end, singular in _IRREGULAR.items():
        if word.endswith(end):
            singulars.add(word.removesuffix(end) + singular)
    yield from singulars
    if singulars & _PEOPLE:
        yield "person"


def merge(instructions: Sequence[str]) -> str:
    """One complex instruction that asks for all of these, in this order.

    Nothing is reworded: "Add a hat." and "make the wall blue" become "Add a hat, then make the wall blue."

    Args:
        instructions: atomic ones, at least one.
    """
    parts = [" ".join(text.split()).rstrip(" .;,") for text in instructions]
    parts = [parts[0], *(_lower_first(part) for part in parts[1:])]
    last = parts[-1][-1:]
    return ", then ".join(parts) + ("" if last in "!?" else ".")


def _lower_first(text: str) -> str:
    """A sentence as it stands behind "then". A first word with another capital is a name, and stays."""
    word = text.split(" ", 1)[0]
    return text if len(word) == 1 and word == "I" or not word[1:].islower() else text[:1].lower() + text[1:]


def list_orders(count: int, most: int) -> list[tuple[int, ...]]:
    """Orders of so many edits, the given one first, then others in lexical order.

    Args:
        count: of edits.
        most: of orders.
    """
    found: list[tuple[int, ...]] = []
    for order in permutations(range(count)):
        if len(found) == most:
            break
        found.append(order)
    return found
