"""Many wordings of the same edits, and sentences beside them that look alike and are refused."""

from __future__ import annotations

import pytest

from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from tests.support.instructions import FOLDER


def load_wordings() -> list[tuple[str, str]]:
    """Instructions, and the edits that they mean, or "refused"."""
    lines = (FOLDER / "wordings.txt").read_text("utf-8").split("\n")
    pairs = [line.rpartition(" => ") for line in lines if line and not line.startswith("#")]
    return [(instruction.replace("\\n", "\n"), edits) for instruction, _, edits in pairs]


def test_there_are_wordings_of_both_kinds() -> None:
    edits = [edits for _, edits in load_wordings()]
    assert edits.count("refused") > 100
    assert len(edits) - edits.count("refused") > 200


@pytest.mark.parametrize(("instruction", "edits"), load_wordings())
def test_a_wording_means_what_it_says_or_is_refused(instruction: str, edits: str) -> None:
    try:
        found = "; ".join(operation.describe() for operation in parse(instruction))
    except InstructionUnclear:
        found = "refused"
    assert found == edits
