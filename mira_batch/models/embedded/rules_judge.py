"""The judge that needs no weights: how many of an instruction's edits an image truly shows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Axis, Judgement, JudgeRequest
from mira_batch.models.embedded.expected import Expected
from mira_batch.models.embedded.grammar import parse as grammar

PROTOCOL = "rules-judge/1"
"""How it scores; the grammar, which its identity names too, decides what is understood."""


class RulesJudge:
    """Implements `core.ports.Judge` for editors that carry out the grammar's operations exactly.

    The score is k / n where the candidate has the very pixels that the first k of n edits give, and 0 where
    it has those of no such image.
    """

    max_batch = 64

    def __init__(self) -> None:
        self._expected = Expected()

    @property
    def identity(self) -> str:
        return f"{PROTOCOL} grammar-{grammar.VERSION}"

    def bucket(self, request: JudgeRequest) -> Hashable:
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        return [self._judge(request) for request in requests]

    def _judge(self, request: JudgeRequest) -> Judgement | Exception:
        try:
            operations, digests = self._expected.digest_edits(request.original, request.instruction)
        except RecordError as error:
            return error
        done = [k for k, digest in enumerate(digests) if digest == request.candidate.digest]
        count, most = len(operations), done[-1] if done else 0
        axes = {"edits": Axis(most, 0, count)}
        if not done:
            return Judgement(0.0, "the image is not what any of the edits should give", axes, PROTOCOL)
        return Judgement(most / count if count else 1.0, f"{most} of {count} edits are done", axes, PROTOCOL)
