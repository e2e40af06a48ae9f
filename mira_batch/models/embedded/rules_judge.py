"""The judge that needs no weights: how many of an instruction's edits an image truly shows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Judgement, JudgeRequest
from mira_batch.models.embedded.expected import Expected
from mira_batch.models.embedded.grammar.parse import VERSION


class RulesJudge:
    """Implements `core.ports.Judge` for editors that carry out the grammar's operations exactly.

    The score is k / n where the candidate has the very pixels that the first k of n edits give, and 0 where
    it has those of no such image.
    """

    identity = f"rules-judge/1 grammar-{VERSION}"
    max_batch = 64

    def __init__(self) -> None:
        self._expected = Expected()

    def bucket(self, request: JudgeRequest) -> Hashable:
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        return [self._judgement(request) for request in requests]

    def _judgement(self, request: JudgeRequest) -> Judgement | Exception:
        try:
            operations, digests = self._expected.of(request.original, request.instruction)
        except RecordError as error:
            return error
        done = [k for k, digest in enumerate(digests) if digest == request.candidate.digest]
        if not done:
            return Judgement(0.0, "the image is not what any of the edits should give")
        count = len(operations)
        return Judgement(done[-1] / count if count else 1.0, f"{done[-1]} of {count} edits are done")
