"""No policy at all: the whole instruction goes to the editor once. The baseline of the loop."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mira_batch.core.actions import MAX_INSTRUCTION, format_action
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, ErrorKind, StopAction


class PassthroughPolicy:
    """Implements `core.ports.Policy`."""

    identity = "passthrough-policy/1"
    max_batch = 64

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str | Exception:
        if request.history:
            return format_action(StopAction("the instruction was given to the editor once"))
        if len(request.instruction) > MAX_INSTRUCTION:
            return RecordError(
                ErrorKind.policy_failed,
                f"the instruction has {len(request.instruction):,} characters; an editor is given at most "
                f"{MAX_INSTRUCTION:,} at once",
            )
        return format_action(Edit(request.instruction))
