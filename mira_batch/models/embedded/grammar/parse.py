"""The grammar of edit instructions: `parse` turns what a person writes into operations.

    "Rotate it a quarter turn clockwise, then make it black and white and put a 12 px red border around it"

An instruction is split into clauses, a clause has one head word that says which operation is meant
("rotate", "border", "brighter"), and the operation takes the other words. Every word must be taken or be one
of the stated fillers; otherwise `InstructionUnclear` names the words. A guess would be a wrong edit that
nobody notices.

The words are in `words.py`; what each operation makes of them is in `geometry.py` and
`colour.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mira_batch.models.embedded.grammar import colour, geometry
from mira_batch.models.embedded.grammar.clause import LIGHT, VERBS, Clause, NotUnderstood
from mira_batch.models.embedded.grammar.words import Token, read_tokens
from mira_batch.models.embedded.operations.operation import Operation

VERSION = "1"
"""Changes whenever an instruction may come to mean something else."""
RESTORE = "restore the original image"
"""The atomic edit that undoes all others. The loop's own: no operation, since it needs the original."""
MAX_INSTRUCTION = 4_000
"""In characters."""
MAX_EDITS = 64
HINT = (
    "understood are: rotate, mirror or flip, crop, resize, pad, border, black and white, sepia, invert, "
    'brightness, contrast, saturation, blur, sharpen, tint, text in "quotes", watermark, flatten, posterize, '
    "autocontrast"
)

Maker = Callable[[Clause], "Operation | tuple[Operation, ...]"]


class InstructionUnclear(ValueError):
    """Part of an instruction has no meaning to this grammar; `words` are exactly that part."""

    def __init__(self, words: str, why: str = "") -> None:
        super().__init__(words, why)
        self.words = words
        self.why = why

    def __str__(self) -> str:
        return f"could not understand '{self.words}': {self.why or HINT}"


def parse(instruction: str) -> tuple[Operation, ...]:
    """The operations of an instruction, in order; at least one.

    Raises `InstructionUnclear` and nothing else, whatever the text.
    """
    if len(instruction) > MAX_INSTRUCTION:
        words = f"{instruction[:60]}…"
        raise InstructionUnclear(words, f"it has {len(instruction)} characters; at most {MAX_INSTRUCTION}")
    operations: list[Operation] = []
    for sentence in _split(read_tokens(instruction), "strong"):
        segments = [s for s in _split(sentence, "weak") if not _announces(s)]
        while segments:
            try:
                made, used = _read_clause(segments)
            except NotUnderstood as unclear:
                words = instruction[unclear.tokens[0].start : unclear.tokens[-1].end]
                raise InstructionUnclear(words, unclear.why) from unclear
            operations += made
            segments = segments[used:]
    if not operations:
        raise InstructionUnclear(instruction.strip(), f"it names no edit; {HINT}")
    if len(operations) > MAX_EDITS:
        raise InstructionUnclear(instruction[:60], f"{len(operations)} edits; at most {MAX_EDITS} are taken")
    return tuple(operations)


def _split(tokens: Sequence[Token], kind: str) -> list[list[Token]]:
    """The stretches between separators of this kind, without empty ones."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == kind:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _announces(segment: Sequence[Token]) -> bool:
    """Whether a segment only says that edits will follow, as in "do the following:"."""
    nouns = {"following", "edits", "changes", "steps"}
    words = {t.value for t in segment}
    return bool(words & nouns) and words <= nouns | {"do", "make", "apply", "as", "to"}


_LONGEST_CLAUSE = 8
"""Segments between commas and "and" that one clause may span."""


def _read_clause(segments: Sequence[list[Token]]) -> tuple[tuple[Operation, ...], int]:
    """The operations of the first clause, and how many segments it spans: the most that make sense.

    A comma or "and" may end a clause ("mirror it, crop it") or stand inside one ("crop 5% off the top and
    bottom", "add a border, 12 px, red"). Segments are only joined while one of them has a head, so that no
    edit can vanish into another.
    """
    for count in range(min(len(segments), _LONGEST_CLAUSE), 1, -1):
        joined = [token for segment in segments[:count] for token in segment]
        headed = [segment for segment in segments[:count] if find_strong_heads(segment)]
        if len(headed) > 1 and not _is_one_head(find_strong_heads(joined)):
            continue
        try:
            return understand(joined), count
        except NotUnderstood:
            continue
    return understand(segments[0]), 1


def _is_one_head(heads: Sequence[str]) -> bool:
    """Whether the heads of several segments may share a clause: "contrast, brightness"."""
    return all(head in _TONES for head in heads) or set(heads) == {"write"}


def understand(tokens: Sequence[Token]) -> tuple[Operation, ...]:
    """The operations of one clause; `NotUnderstood` where any of it is unclear."""
    heads = find_strong_heads(tokens)
    makers = {_HEADS[head] for head in heads} or _find_weak_heads(tokens)
    if not makers:
        raise NotUnderstood(tokens)
    if len(makers) > 1:
        raise NotUnderstood(tokens, "it names more than one edit; put a comma or 'then' between them")
    if len(set(heads)) < len(heads):
        raise NotUnderstood(tokens, "it says a word twice; put a comma or 'then' between two edits")
    start = 1 if tokens[0].value == "to" else 0
    for at, token in enumerate(tokens[start + 1 :], start + 1):
        if token.kind == "word" and token.value in VERBS:
            raise NotUnderstood(tokens[at:], "put a comma or 'then' between two edits")
    clause = Clause(tokens)
    try:
        made = makers.pop()(clause)
    except ValueError as error:
        raise NotUnderstood(tokens, str(error)) from error
    clause.drop(*LIGHT)
    if clause.left:
        raise NotUnderstood(clause.left)
    return made if isinstance(made, tuple) else (made,)


def find_strong_heads(tokens: Sequence[Token]) -> list[str]:
    """The words of a clause that name an operation by themselves."""
    heads = [str(t.value) for t in tokens if t.kind == "word" and t.value in _HEADS]
    if any(t.kind == "text" for t in tokens):
        # Quoted words and the verb before them are one head.
        return [head for head in heads if _HEADS[head] is not colour.write] + ["write"]
    return heads


def _find_weak_heads(tokens: Sequence[Token]) -> set[Maker]:
    """What a clause without a strong head is about: the first weak one that it has."""
    said = {t.value if t.kind in ("word", "colour") else t.kind for t in tokens}
    return set([maker for head, maker in _WEAK.items() if head in said][:1])


def _name_heads(maker: Maker, words: str) -> dict[str, Maker]:
    return dict.fromkeys(words.split(), maker)


_HEADS: dict[str, Maker] = {
    **_name_heads(geometry.rotate, "rotate clockwise counterclockwise"),
    **_name_heads(geometry.flip, "flip mirror"),
    **_name_heads(geometry.crop, "crop trim"),
    **_name_heads(geometry.resize, "resize enlarge shrink"),
    **_name_heads(geometry.surround, "pad border margin"),
    **_name_heads(colour.gray, "grayscale"),
    **_name_heads(colour.sepia, "sepia"),
    **_name_heads(colour.invert, "invert"),
    **_name_heads(colour.tone, "brightness contrast saturation brighten darken saturate desaturate"),
    **_name_heads(colour.blur, "blur"),
    **_name_heads(colour.sharpen, "sharpen"),
    **_name_heads(colour.tint, "tint"),
    **_name_heads(colour.write, "write text caption watermark"),
    **_name_heads(colour.flatten, "flatten transparency"),
    **_name_heads(colour.posterize, "posterize"),
    **_name_heads(colour.autocontrast, "autocontrast"),
}
_TONES = frozenset(("brightness", "contrast", "saturation"))
"""The heads that may share a clause: "more brightness and contrast"."""
_WEAK: dict[str, Maker] = {
    **_name_heads(colour.gray, "gray"),
    **_name_heads(geometry.rotate, "upsidedown"),
    **_name_heads(geometry.resize, "size width height longest shortest large"),
    **_name_heads(geometry.rotate, "turn"),
    **_name_heads(geometry.resize, "decrease"),
}
"""Words that name an operation unless a strong head is there: "turn it" rotates, "turn it sepia" does not."""
