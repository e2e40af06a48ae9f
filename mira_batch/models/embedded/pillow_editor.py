"""The editor that needs no weights: it carries out the grammar's operations with Pillow.

It takes any instruction that the grammar understands, one edit or several, and before these "restore the
original image", which is no operation since it needs the original. Same request, same pixels.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

import PIL
from PIL.Image import Image

from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.ports import EditRequest
from mira_batch.core.source_type import ENHANCED
from mira_batch.core.types import ErrorKind
from mira_batch.models.embedded.grammar import parse as grammar
from mira_batch.models.embedded.operations.operation import NotForThisImage
from mira_batch.models.embedded.worked_out import WORKED_OUT

_RESTORE = re.compile(rf"\s*{grammar.RESTORE}\s*(?:[.,;]\s*|$)", re.IGNORECASE)


class PillowEditor:
    """Implements `core.ports.Editor`. Holds nothing of its own, so any number of threads may share one."""

    source_type = ENHANCED

    def __init__(self) -> None:
        WORKED_OUT.await_results()

    @property
    def identity(self) -> str:
        # Filters, resampling and the embedded font are Pillow's, so its version decides the pixels.
        return f"pillow-editor/1 grammar-{grammar.VERSION} pillow-{PIL.__version__}"

    @property
    def max_batch(self) -> int:
        return 64

    def bucket(self, request: EditRequest) -> Hashable:
        return None

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        return [_try_edit(request) for request in requests]


def _try_edit(request: EditRequest) -> Image | RecordError:
    try:
        with boundary(ErrorKind.editor_failed):
            try:
                return _edit(request)
            except (grammar.InstructionUnclear, NotForThisImage) as error:  # they speak to users
                raise RecordError(ErrorKind.editor_failed, str(error)) from error
    except RecordError as error:
        return error


def _edit(request: EditRequest) -> Image:
    image: Image = request.image.pixels
    restore = _RESTORE.match(request.instruction)
    rest = request.instruction[restore.end() :] if restore else request.instruction
    if restore:
        image = request.original.pixels.copy()
    operations = grammar.parse(rest) if rest or not restore else ()
    if len(operations) == 1 and not restore:
        there = WORKED_OUT.take(request.image.digest, operations[0])
        return operations[0].apply(image) if there is None else there
    for operation in operations:
        image = operation.apply(image)
    return image
