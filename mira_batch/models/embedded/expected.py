"""What an image must look like after each edit of an instruction that the grammar understands."""

from __future__ import annotations

import threading
from collections import OrderedDict

from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import frame_of
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from mira_batch.models.embedded.operations.operation import NotForThisImage, Operation
from mira_batch.models.embedded.worked_out import WorkedOut

REMEMBERED = 4_096
"""Records whose digests are kept; a few hundred bytes each."""


class Expected:
    """The digests of the image after the first k edits, worked out once per record."""

    def __init__(self, keep: WorkedOut | None = None) -> None:
        """
        Args:
            keep: takes the images for an editor that is to make them next.
        """
        self._keep = keep
        self._digests: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def digest_edits(
        self, original: Frame, instruction: str
    ) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
        """The instruction's edits, and the digests after the first k of them, for k from 0 to all.

        Raises:
            RecordError: the instruction has words that the grammar doesn't know, asks for what this image
                has no room for, or an edit can't be made.
        """
        try:
            operations = parse(instruction)
        except InstructionUnclear as unclear:
            raise RecordError(ErrorKind.instruction_unclear, str(unclear)) from unclear
        key = (original.digest, instruction)
        with self._lock:
            if key in self._digests:
                self._digests.move_to_end(key)
                return operations, self._digests[key]
        digests, image = [original.digest], original.pixels
        for operation in operations:
            with boundary(ErrorKind.policy_failed):
                try:
                    image = operation.apply(image)
                except NotForThisImage as error:
                    raise RecordError(ErrorKind.instruction_unclear, str(error)) from error
            if self._keep is not None:
                self._keep.keep(digests[-1], operation, image)
            digests.append(frame_of(image).digest)
        with self._lock:
            self._digests[key] = tuple(digests)
            while len(self._digests) > REMEMBERED:
                self._digests.popitem(last=False)
        return operations, tuple(digests)
