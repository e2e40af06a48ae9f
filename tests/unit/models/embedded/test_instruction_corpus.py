"""The grammar on instructions with right answers: no wrong edit, and few refusals of what it could do."""

from __future__ import annotations

import pytest

from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from tests.support.instructions import Entry, judge_answer, load_corpus

MOST_REFUSED = 0.25
"""The share of the realistic instructions that may be refused."""


def answer_instruction(entry: Entry) -> list[str] | None:
    try:
        return [operation.describe() for operation in parse(entry.instruction)]
    except InstructionUnclear:
        return None


@pytest.mark.parametrize("name", ["dev", "held_out"])
def test_no_answer_is_wrong(name: str) -> None:
    answers = [(entry, answer_instruction(entry)) for entry in load_corpus(name)]
    wrong = [
        (entry.id, entry.instruction, answer)
        for entry, answer in answers
        if judge_answer(entry, answer) == "wrong"
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["dev", "held_out"])
def test_most_realistic_instructions_are_understood(name: str) -> None:
    realistic = [entry for entry in load_corpus(name) if entry.set == "realistic"]
    refused = [e.id for e in realistic if judge_answer(e, answer_instruction(e)) == "refused"]
    assert len(realistic) > 200
    assert len(refused) <= MOST_REFUSED * len(realistic), refused
