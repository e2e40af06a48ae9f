"""An instruction in one spelling, as the phrases are matched against it."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from mira_batch.models.embedded.grammar.tokens import Token


@dataclass(frozen=True)
class Normal:
    """The normalised text: every token followed by one space, quoted words by their number."""

    source: str
    text: str
    tokens: Sequence[Token]
    starts: Sequence[int]
    """Where each token begins in `text`."""
    quoted: Sequence[str]
    """The quoted words."""

    def index(self, at: int) -> int:
        """The token at this place of the text."""
        return bisect_right(self.starts, at) - 1

    def quote(self, start: int, end: int) -> str:
        """The words of the instruction that this part of the text stands for."""
        first, last = self.index(start), max(self.index(start), self.index(end - 1))
        return self.source[self.tokens[first].start : self.tokens[last].end]

    def source_of(self, at: int) -> int:
        """Where this place of the text is in the instruction."""
        return self.tokens[self.index(at)].start if at < len(self.text) else len(self.source)

    def stop(self, at: int) -> int:
        """Where the stretch of words from here ends, before the next joint."""
        index = self.index(at) + 1
        while index < len(self.tokens) and self.tokens[index].kind not in ("joint", "marker", "bullet"):
            index += 1
        return self.starts[index] if index < len(self.tokens) else len(self.text)


def normalise(source: str, tokens: Sequence[Token]) -> Normal:
    parts: list[str] = []
    starts: list[int] = []
    quoted: list[str] = []
    length = 0
    for token in tokens:
        part = token.value
        if token.kind in ("text", "plain"):
            part = f'"{len(quoted)}'
            quoted.append(_read_quoted(source[token.start : token.end], token.kind))
        elif token.kind in ("mark", "name"):
            part = f"\\{token.kind}"
        starts.append(length)
        parts.append(part)
        length += len(part) + 1
    return Normal(source, " ".join([*parts, ""]), tokens, starts, quoted)


def _read_quoted(raw: str, kind: str) -> str:
    if kind != "text":
        return " ".join(raw.split())
    words = raw[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\").strip()
    return "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in words)
