"""The pieces of an instruction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the instruction, its place there, and how the normalised text writes it.

    Kinds: word, number, colour, text (quoted), plain (words to write without quotes), name (an address,
    which no phrase takes), joint (what may stand between two edits), marker ("2." before an edit),
    bullet and mark (anything else).
    """

    kind: str
    value: str
    start: int
    end: int
    raw: str = ""

    @property
    def listed(self) -> bool:
        """Whether an item of a list begins here."""
        return self.kind in ("marker", "bullet")
