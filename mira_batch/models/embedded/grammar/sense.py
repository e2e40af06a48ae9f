"""What can be read and yet can't be meant: an edit said twice, a description, a question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.clause import Clause, find_between
from mira_batch.models.embedded.grammar.normal import Normal
from mira_batch.models.embedded.grammar.unclear import Misread
from mira_batch.models.embedded.operations import colour, geometry
from mira_batch.models.embedded.operations.operation import Operation

_FAMILIES = (
    (geometry.Resize, geometry.ResizeSide, geometry.Scale, geometry.Fit),
    (geometry.CropRatio, geometry.CropSize),
    (geometry.PadSquare, geometry.Fit),
)
"""Kinds of operations of which the second would undo the first, or say it in other words."""
_OBJECT = re.compile(r"(?:it|them|image|this|that) ")
_LOOSE = frozenset((",", ".", "-", "–", "—", ":"))
"""Signs that may as well stand between a subject and what shall be done to it: "Mirror, crop it square"."""
_SEQUENCE = re.compile(rf"\b(?:{'|'.join((*framing.THEN, *framing.LAST, *framing.ORDINALS))})\b")
_NOUNS = re.compile(r"(?:mirror|blur|frame) (?!it\b|them\b|this\b|that\b)\w+", re.IGNORECASE)
"""Commands without an article that may as well name what is pictured: "mirror image", "blur photo"."""


def check_sense(normal: Normal, clauses: Sequence[Clause], polite: Sequence[int]) -> None:
    """Raises `Misread` where the clauses, each clear by itself, are doubtful together."""
    _check_questions(normal, polite)
    _check_retouching(normal)
    _check_brackets(normal, clauses)
    commanded = False
    for before, clause in zip(clauses, clauses[1:], strict=False):
        commanded = commanded or not is_bare(normal, before)
        if clause.start < before.start:
            continue  # "after" and "before" say which comes first
        joint = normal.text[before.end : clause.start]
        raw = [t.raw.strip(" \t") for t in find_between(normal, before, clause)]
        listed = any(t.listed for t in find_between(normal, before, clause)) and _starts_item(normal, before)
        if listed or _SEQUENCE.search(joint) or clause.lead.startswith("after "):
            continue
        why = _find_doubt(normal, before, clause, joint)
        loose = before.kind == "label" or any(sign in _LOOSE for sign in raw)
        if not why and not commanded and _commands(normal, clause, loose):
            why = "it may describe the image; say it as a command, or put 'then' after it"
        if why:
            raise Misread(before.start, clause.end, why)


def _starts_item(normal: Normal, clause: Clause) -> bool:
    at = normal.index(clause.start)
    return at > 0 and normal.tokens[at - 1].listed


def _find_doubt(normal: Normal, before: Clause, clause: Clause, joint: str) -> str:
    if _restates(normal, before, clause, joint):
        return "it may say one edit twice; put 'then' between them if both are meant"
    if _may_fit(before, clause):
        return "say 'flatten' for transparent parts, or 'fit into' for a background around the image"
    return ""


def _may_fit(before: Clause, clause: Clause) -> bool:
    """Whether a size and a background may be one edit: "resize to 800x800, white background"."""
    for size, ground in ((before, clause), (clause, before)):
        resize, flatten = size.operations[-1], ground.operations[0]
        sized = isinstance(resize, geometry.Resize) and resize.width and resize.height
        behind = isinstance(flatten, colour.Flatten) and flatten.behind
        if sized and behind and ground.kind in ("alone", "label"):
            return True
    return False


def _restates(normal: Normal, before: Clause, clause: Clause, joint: str) -> bool:
    """Whether the second clause may be the first in other words: "make it negative, invert the colors"."""
    first, second = before.operations[-1], clause.operations[0]
    verbless = {before.kind, clause.kind} & {"ask", "alone", "label"}
    if verbless and _same_family(first, second):
        return True
    if not _same_kind(first, second):
        return False
    if clause.carried:
        return clause.kind != "thing" or first == second or joint != "and "
    if verbless:
        return True
    verbs = [_words(normal, c).split(" ", 1)[0] for c in (before, clause)]
    if verbs[0] == verbs[1]:
        return not _has_amount(before) and _has_amount(clause)
    if before.said.get("way") != clause.said.get("way"):
        return False  # less, then more
    return first == second if joint == "and " else True


def _has_amount(clause: Clause) -> bool:
    return any(value[-1].isdigit() for name, value in clause.said.items() if name not in ("colour", "quoted"))


def _same_kind(first: Operation, second: Operation) -> bool:
    if isinstance(first, geometry.Flip) and isinstance(second, geometry.Flip):
        return first.axis == second.axis
    return type(first) is type(second)


def _same_family(first: Operation, second: Operation) -> bool:
    return any(isinstance(first, family) and isinstance(second, family) for family in _FAMILIES)


def _words(normal: Normal, clause: Clause) -> str:
    return normal.text[clause.start : clause.end]


def is_bare(normal: Normal, clause: Clause) -> bool:
    """Whether a clause without a verb, or of one word, may also say what is in the picture."""
    if clause.kind in ("alone", "label") or _words(normal, clause).count(" ") == 1:
        return True
    return _NOUNS.fullmatch(normal.quote(clause.start, clause.end)) is not None


def _commands(normal: Normal, clause: Clause, loose: bool) -> bool:
    """Whether a clause is a whole command; after a comma or a stop, every one with a verb is."""
    whole = loose or clause.lead not in ("", "with ", "and with ") or _OBJECT.search(_words(normal, clause))
    return clause.kind in ("verb", "state", "thing") and not clause.lead.endswith("with ") and bool(whole)


def _check_questions(normal: Normal, polite: Sequence[int]) -> None:
    """A question is a request only where it says please, could you or can I."""
    start = 0
    for index, token in enumerate(normal.tokens):
        if token.kind != "joint" or token.value != ";":
            continue
        if "?" in token.raw:
            begin = normal.tokens[start - 1].end if start else 0
            asked = any(t.value in ("can", "may", "possible") for t in normal.tokens[start:index])
            if not asked and not any(begin <= at <= token.start for at in polite):
                first = normal.starts[min(start, index)]
                raise Misread(first, normal.starts[index], "it is a question; say it as a command")
        start = index + 1


def _check_retouching(normal: Normal) -> None:
    """To touch something up may be any edit: not "up" and "a touch" of it."""
    for index, token in enumerate(normal.tokens[1:]):
        before = normal.tokens[index]
        article = index > 0 and normal.tokens[index - 1].raw.lower() == "a"
        words = (before.raw.lower(), token.raw.lower())
        if (words == ("touch", "up") and not article) or token.raw.lower() == "touch-up":
            raise Misread(normal.starts[index], normal.starts[index + 1] + 1, "it names no edit")


def _check_brackets(normal: Normal, clauses: Sequence[Clause]) -> None:
    """A remark in brackets may say what another edit does, or was, and not what comes after it."""
    for clause in clauses:
        before = [t.raw for t in normal.tokens[: normal.index(clause.start)]]
        opened = len(before) - before[::-1].index("(") if "(" in before else 0
        if opened and ")" not in before[opened:]:
            raise Misread(clause.start, clause.end, "it stands in brackets; say it without them")
