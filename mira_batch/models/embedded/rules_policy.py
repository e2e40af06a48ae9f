"""The policy that needs no weights: it understands instructions by a grammar, and it truly looks.

For every prefix of an instruction's edits it knows the digest that the image's pixels must then have, and it
compares the current image with these. So an edit that was lost is asked for again, one that changes nothing
on this image is skipped, and a wrong one is undone. It fits editors that carry out the grammar's operations
exactly, as `PillowEditor` does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mira_batch.core.actions import MAX_INSTRUCTION, format_action
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, Step, StopAction
from mira_batch.models.embedded.expected import Expected
from mira_batch.models.embedded.grammar import parse as grammar
from mira_batch.models.embedded.operations.operation import Operation
from mira_batch.models.embedded.worked_out import WORKED_OUT


class RulesPolicy:
    """Implements `core.ports.Policy`. Answers depend on the request alone; the memory only saves work."""

    def __init__(self) -> None:
        self._expected = Expected(keep=WORKED_OUT)

    @property
    def identity(self) -> str:
        return f"rules-policy/1 grammar-{grammar.VERSION}"

    @property
    def max_batch(self) -> int:
        return 64

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str | Exception:
        try:
            return format_action(self._look(request))
        except RecordError as error:
            return error

    def _look(self, request: PolicyRequest) -> Edit | StopAction:
        operations, digests = self._expected.digest_edits(request.original, request.instruction)
        if request.current.digest not in digests:
            return _undo(operations, digests, request.history)
        done = max(k for k, digest in enumerate(digests) if digest == request.current.digest)
        thought = _describe_progress(operations, done)
        if done == len(operations):
            return StopAction("nothing is left to do", thought)
        return Edit(operations[done].describe(), thought)


def _undo(operations: Sequence[Operation], digests: Sequence[str], history: Sequence[Step]) -> Edit:
    """Go back to the last image that was right, by way of the original.

    One edit does both. Were the good edits redone one by one, each would repeat a logged step exactly, and
    the loop would rightly take that for a circle.
    """
    reached = {step.after for step in history if step.accepted}
    good = max((k for k, digest in enumerate(digests) if digest in reached), default=0)
    sentences = [grammar.RESTORE, *(operation.describe() for operation in operations[:good])]
    instruction = ", then ".join(sentences)
    if len(instruction) > MAX_INSTRUCTION:
        instruction = grammar.RESTORE
    return Edit(
        instruction, "The image is neither the original nor the result of any of the edits; undoing that."
    )


def _describe_progress(operations: Sequence[Operation], done: int) -> str:
    """In words: which edits the image shows, and which comes next."""
    count = f"{done} of {len(operations)} edits {'is' if done == 1 else 'are'} done"
    names = f" ({'; '.join(o.describe() for o in operations[:done])})" if done else ""
    return f"{count}{names}" + (f"; next: {operations[done].describe()}" if done < len(operations) else "")
