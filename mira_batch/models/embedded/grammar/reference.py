"""What a clause may be about besides the image: letters or a border that the clause before it has added.

"Add a border and make it 20 px wide" makes no image 20 px wide. Where both can be meant, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.clause import Clause, find_between
from mira_batch.models.embedded.grammar.normal import Normal
from mira_batch.models.embedded.grammar.unclear import Misread
from mira_batch.models.embedded.operations import colour, geometry
from mira_batch.models.embedded.operations.operation import Operation
from mira_batch.models.embedded.operations.text import WriteText

_PRONOUNS = frozenset(("it", "it's", "its", "this", "that", "them", "they", "these", "those"))
_LINES = frozenset(("outline", "outlined", "outlines"))
_SIZES = (geometry.Resize, geometry.ResizeSide, geometry.Scale)
_OF_BORDERS = (*_SIZES, colour.Brightness, colour.Contrast, colour.Saturation)
"""What may be done to a border as well as to an image."""
_OF_LETTERS = (
    *_OF_BORDERS,
    colour.Blur,
    colour.Sharpen,
    colour.Tint,
    geometry.Rotate,
    geometry.Flip,
    geometry.Border,
)


def check_references(normal: Normal, clauses: Sequence[Clause]) -> None:
    """Raises `Misread` where a clause may be about something else than the image."""
    for clause in clauses:
        _check_round(normal, clause)
    for before, clause in zip(clauses, clauses[1:], strict=False):
        if clause.start < before.start:
            continue  # "after" and "before" say which comes first
        if not any(token.listed for token in find_between(normal, before, clause)):
            why = _find_doubt(normal, before, clause)
            if why:
                raise Misread(before.start, clause.end, why)


def _find_doubt(normal: Normal, before: Clause, clause: Clause) -> str:
    added, made = before.operations[-1], clause.operations[0]
    words = _read_words(normal, clause)
    named = "image " in normal.text[clause.start : clause.end]  # "... so that its longest side is 800 px"
    points = not named and not _PRONOUNS.isdisjoint(words)
    joint = normal.text[before.end : clause.start]
    later = any(f"{word} " in joint for word in (*framing.THEN, *framing.LAST))
    if isinstance(added, geometry.Border):
        kinds = _SIZES if later else _OF_BORDERS
        may_be_its = points and isinstance(made, kinds) and not _names_both_sides(made)
        return "say all of the border at once, and 'the image' for the image" if may_be_its else ""
    if not isinstance(added, WriteText):
        return ""
    depends = clause.kind in ("alone", "thing") and clause.lead in ("", "with ", "and with ")
    depends = depends or clause.carried or not _LINES.isdisjoint(words)
    around = isinstance(made, geometry.Border) or (isinstance(made, colour.Flatten) and made.behind)
    if around and depends:
        return "it may be meant for the letters; say 'add' and 'around the image' if it is for the image"
    kinds = _SIZES if later else _OF_LETTERS
    if points and isinstance(made, kinds) and not _names_both_sides(made):
        return "'it' may be the letters or the image; say 'the image' if that is meant"
    return ""


def _names_both_sides(made: Operation) -> bool:
    """Whether it gives a width and a height, which only an image has."""
    return isinstance(made, geometry.Resize) and bool(made.width and made.height)


def _check_round(normal: Normal, clause: Clause) -> None:
    """A "round" border is no border "round" the image."""
    words = [*_read_words(normal, clause), ""]
    if isinstance(clause.operations[0], geometry.Border) and "round" in words:
        at = words.index("round")
        if words[at + 1] == "" and (at == 0 or words[at - 1] not in ("all", "right")):
            raise Misread(clause.start, clause.end, "this editor rounds no corners")


def _read_words(normal: Normal, clause: Clause) -> list[str]:
    """Its words as they were written, in small letters."""
    tokens = normal.tokens[normal.index(clause.start) : normal.index(clause.end - 1) + 1]
    return [word for token in tokens for word in token.raw.lower().split()]
