"""The grammar of edit instructions: `parse` turns what a person writes into operations.

    "Rotate it a quarter turn clockwise, then make it black and white and put a 12 px red border around it"

An instruction is read from left to right as clauses with joints between them. A clause must be a command, or
a phrase that can only be one; which phrases there are is in `geometry.py`, `size.py`, `canvas.py`, `tone.py`
and `colour.py`, what else may stand around them in `framing.py`. Whatever no phrase takes makes
`InstructionUnclear`, which names the words: no number, verb or quoted word is ever passed over. A guess would
be a wrong edit that nobody notices.
"""

from __future__ import annotations

from functools import lru_cache

from mira_batch.models.embedded.grammar.lexer import find_polite, read_tokens
from mira_batch.models.embedded.grammar.normal import normalise
from mira_batch.models.embedded.grammar.reader import Reader
from mira_batch.models.embedded.grammar.reference import check_references
from mira_batch.models.embedded.grammar.sense import check_sense
from mira_batch.models.embedded.grammar.unclear import HINT, InstructionUnclear, Misread
from mira_batch.models.embedded.grammar.vocabulary import SPELLER
from mira_batch.models.embedded.operations.operation import Operation

__all__ = ["HINT", "MAX_EDITS", "MAX_INSTRUCTION", "RESTORE", "VERSION", "InstructionUnclear", "parse"]

VERSION = "2"
"""Changes whenever an instruction may come to mean something else."""
RESTORE = "restore the original image"
"""The atomic edit that undoes all others. The loop's own: no operation, since it needs the original."""
MAX_INSTRUCTION = 4_000
"""In characters."""
MAX_EDITS = 64


@lru_cache(maxsize=4_096)  # the policy asks about a record's instruction at each of its steps
def parse(instruction: str) -> tuple[Operation, ...]:
    """The operations of an instruction, in order; at least one.

    Raises `InstructionUnclear` and nothing else, whatever the text.
    """
    if len(instruction) > MAX_INSTRUCTION:
        words = f"{instruction[:60]}…"
        raise InstructionUnclear(words, f"it has {len(instruction)} characters; at most {MAX_INSTRUCTION}")
    tokens = read_tokens(instruction, SPELLER.correct, SPELLER.knows)
    if [t.kind for t in tokens] == ["text"]:
        # A CSV export put the whole instruction into quotes.
        tokens = read_tokens(inner := instruction.strip()[1:-1], SPELLER.correct, SPELLER.knows)
        normal = normalise(inner, tokens)
    else:
        normal = normalise(instruction, tokens)
    try:
        polite = find_polite(normal.source)
        clauses = Reader(normal, polite).read()
        check_sense(normal, clauses, polite)
        check_references(normal, clauses)
    except Misread as misread:
        raise InstructionUnclear(normal.quote(misread.start, misread.end), misread.why) from misread
    operations = [operation for clause in clauses for operation in clause.operations]
    if not operations:
        raise InstructionUnclear(instruction.strip(), f"it names no edit; {HINT}")
    if len(operations) > MAX_EDITS:
        raise InstructionUnclear(instruction[:60], f"{len(operations)} edits; at most {MAX_EDITS} are taken")
    return tuple(operations)
