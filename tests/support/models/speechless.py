"""The synthetic world's judge, which gives no verdict while a file is there."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Judgement, JudgeRequest
from mira_batch.core.types import ErrorKind
from mira_batch.train.world.models import PROTOCOL, WorldJudge, make_judge


class SpeechlessJudge:
    """Implements `core.ports.Judge`."""

    max_batch = 16
    protocol = PROTOCOL
    identity = "speechless/1"

    def __init__(self, judge: WorldJudge, hush: Path) -> None:
        self._judge, self._hush = judge, hush

    def bucket(self, request: JudgeRequest) -> Hashable:
        """Any may share a batch."""
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        """A verdict for each, or none at all."""
        if self._hush.exists():
            return [RecordError(ErrorKind.judge_failed, "no verdict in the answer") for _ in requests]
        return self._judge.score(requests)


def make_speechless(hush: str) -> SpeechlessJudge:
    """A judge that says nothing while there is a file of this name."""
    return SpeechlessJudge(make_judge(), Path(hush))
