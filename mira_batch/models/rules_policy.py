"""The policy that needs no weights: it understands instructions by a grammar, and it truly looks.

For every prefix of an instruction's edits it knows the digest that the image's pixels must then have, and it
compares the current image with these. So an edit that was lost is asked for again, one that changes nothing
on this image is skipped, and a wrong one is undone. It fits editors that carry out the grammar's operations
exactly, as `PillowEditor` does.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from mira_batch.core.actions import MAX_INSTRUCTION, format_action
from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, ErrorKind, Frame, Step, Stop
from mira_batch.models import grammar
from mira_batch.models.operations import Operation

REMEMBERED = 4_096
"""Records whose digests are kept; a few hundred bytes each."""


class RulesPolicy:
    """Implements `core.ports.Policy`. Answers depend on the request alone; the memory only saves work."""

    def __init__(self) -> None:
        self._digests: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

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

    def _look(self, request: PolicyRequest) -> Edit | Stop:
        try:
            operations = grammar.parse(request.instruction)
        except grammar.InstructionUnclear as unclear:
            raise RecordError(ErrorKind.instruction_unclear, str(unclear)) from unclear
        digests = self._wanted(request.original, request.instruction, operations)
        if request.current.digest not in digests:
            return _undo(operations, digests, request.history)
        done = max(k for k, digest in enumerate(digests) if digest == request.current.digest)
        thought = _progress(operations, done)
        if done == len(operations):
            return Stop("nothing is left to do", thought)
        return Edit(operations[done].describe(), thought)

    def _wanted(self, original: Frame, instruction: str, operations: Sequence[Operation]) -> tuple[str, ...]:
        """The digests of the image after the first k edits, for k from 0 to all of them."""
        key = (original.digest, instruction)
        with self._lock:
            if key in self._digests:
                self._digests.move_to_end(key)
                return self._digests[key]
        digests, image = [original.digest], original.pixels
        for operation in operations:
            with boundary(ErrorKind.policy_failed):
                image = operation.apply(image)
            digests.append(frame_of(image).digest)
        with self._lock:
            self._digests[key] = tuple(digests)
            while len(self._digests) > REMEMBERED:
                self._digests.popitem(last=False)
        return tuple(digests)


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


def _progress(operations: Sequence[Operation], done: int) -> str:
    """In words: which edits the image shows, and which comes next."""
    count = f"{done} of {len(operations)} edits {'is' if done == 1 else 'are'} done"
    names = f" ({'; '.join(o.describe() for o in operations[:done])})" if done else ""
    return f"{count}{names}" + (f"; next: {operations[done].describe()}" if done < len(operations) else "")
