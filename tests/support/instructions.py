"""The instructions with right answers in tests/data/instructions, and how an answer is judged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parents[1] / "data" / "instructions"

Verdict = Literal["right", "refused", "wrong"]

_STAR = r"[\w.#]+(?: left| right)?"
"""What a star stands for: a number, a colour, a size of letters, or a position such as "top left"."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One instruction and what is right for it; README.md beside the files describes the fields."""

    id: str
    kind: str
    set: Literal["realistic", "trap"]
    instruction: str
    right: list[list[str]]
    may_refuse: bool


def load_corpus(name: str) -> list[Entry]:
    """The entries of tests/data/instructions/NAME.jsonl, in their order."""
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").split("\n")
    return [Entry(**json.loads(line)) for line in lines if line]


def judge_answer(entry: Entry, answer: Sequence[str] | None) -> Verdict:
    """Whether the answer to an instruction is right, a refusal of what could be done, or wrong.

    Args:
        entry: The instruction.
        answer: The canonical sentences of the edits in the order they are made; None for a refusal.
    """
    if answer is None:
        return "refused" if entry.right else "right"
    return "right" if any(_match_edits(right, answer) for right in entry.right) else "wrong"


def _match_edits(right: Sequence[str], answer: Sequence[str]) -> bool:
    return len(right) == len(answer) and all(map(_match_sentence, right, answer))


def _match_sentence(right: str, answer: str) -> bool:
    return re.fullmatch(_STAR.join(map(re.escape, right.split("*"))), answer) is not None
