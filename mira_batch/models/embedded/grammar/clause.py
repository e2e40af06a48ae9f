"""A clause while operations take their words from it.

Every word that no operation takes stays in `Clause.left`, and a clause with anything left is unclear. So
words may come in any order, and none is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mira_batch.models.embedded.grammar.words import Token, words

T = TypeVar("T")

VERBS = words("make add give apply change convert set draw do use turn have get")
"""Verbs that go with many operations ("make it sepia"). They can only begin a clause, so that a second edit
("... and turn it gray") is never read as part of the first."""
CHANGES = ("make", "change", "convert", "turn", "set")
"""Those that change what is there. With a border or a text they would mean one already in the picture."""
LIGHT = VERBS | words("put place to by as from effect filter look style version")
"""Words any operation may come with. Where one of them matters ("by 20%", "to 20%") the operation looks at it
before it is dropped."""


class NotUnderstood(ValueError):
    """These tokens of a clause have no meaning here."""

    def __init__(self, tokens: Sequence[Token], why: str = "") -> None:
        super().__init__(why)
        self.tokens = tokens
        self.why = why


class Clause:
    """The tokens of one clause; operations take theirs from it, and `left` is what is not understood."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.left = list(tokens)

    def has(self, *words: str) -> bool:
        return any(t.kind == "word" and t.value in words for t in self.left)

    def drop(self, *words: str) -> bool:
        """Take these words away; whether any was there."""
        before = len(self.left)
        self.left = [t for t in self.left if t.kind != "word" or t.value not in words]
        return len(self.left) < before

    def choose(self, table: Mapping[str, T]) -> T | None:
        """The meaning of the first word the table has. Words that contradict it are left over."""
        found = next((table[str(t.value)] for t in self.left if t.kind == "word" and t.value in table), None)
        if found is not None:
            self.drop(*(word for word, meaning in table.items() if meaning == found))
        return found

    def take(self, *kinds: str) -> Token | None:
        """The first token of these kinds."""
        token = next((t for t in self.left if t.kind in kinds), None)
        if token:
            self.left.remove(token)
        return token

    def take_colour(self) -> str | None:
        token = self.take("colour")
        return str(token.value) if token else None

    def take_pair(self, kind: str) -> tuple[float, float] | None:
        token = self.take(kind)
        return token.value if token and isinstance(token.value, tuple) else None

    def follows(self, word: str, token: Token) -> bool:
        """Whether the token stands right after this word, as in "by 20%"."""
        at = self.left.index(token)
        return at > 0 and self.left[at - 1].kind == "word" and self.left[at - 1].value == word

    def pair_amounts(self, names: Sequence[str], *kinds: str) -> dict[str, Token]:
        """Which name goes with which amount: "10 px off the left, 20 px off the top and bottom" or "the
        left by 10 px, the top and bottom by 20 px". The tokens stay until `take_all`."""
        row = [t for t in self.left if t.kind in kinds or (t.kind == "word" and t.value in names)]
        shape = "".join("a" if t.kind in kinds else "n" for t in row)
        if not re.fullmatch(r"(?:an+)+|(?:n+a)+", shape):
            return {}
        amount_first = shape[0] == "a"
        amount, found = None, {}
        for token in row if amount_first else reversed(row):
            if token.kind in kinds:
                amount = token
            elif amount is not None:
                found[str(token.value)] = amount
        if len(found) < shape.count("n"):
            return {}
        return {str(t.value): found[str(t.value)] for t in row if t.kind not in kinds}

    def take_all(self, *kinds: str) -> None:
        self.left = [t for t in self.left if t.kind not in kinds]


def read_value(amount: Token | None, default: float = 0) -> float:
    return amount.value if amount and isinstance(amount.value, float) else default


def read_whole(value: float) -> int:
    if value != int(value):
        raise ValueError(f"{value:g} is not a whole number")
    return int(value)


def read_amount(c: Clause, kinds: tuple[str, ...], slightly: float, plain: float, strongly: float) -> float:
    """An amount that may be a number, "a bit", "a lot" or left open."""
    amount = c.take(*kinds)
    return read_value(amount) if amount else c.choose({"slightly": slightly, "strongly": strongly}) or plain
