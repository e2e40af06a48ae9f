"""Judges of one colour, whose scores an editor can raise without understanding anything."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Judgement, JudgeRequest
from mira_batch.core.types import ErrorKind


class ColourJudge:
    """Implements `core.ports.Judge`: how much brighter one channel is than another, in [0, 1]."""

    max_batch = 16

    def __init__(self, more: int, less: int, fails_for: str | None) -> None:
        self._more, self._less, self._fails_for = more, less, fails_for
        self.identity = f"colour-judge/{more}/{less}"

    def bucket(self, request: JudgeRequest) -> Hashable:
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        return [self._score(request) for request in requests]

    def _score(self, request: JudgeRequest) -> Judgement | Exception:
        if request.record_id.partition("#")[0] == self._fails_for:
            return RecordError(ErrorKind.judge_failed, "no judge for this one")
        means = np.asarray(request.candidate.pixels.convert("RGB"), dtype=float).mean((0, 1)) / 255
        return Judgement(float(0.5 + (means[self._more] - means[self._less]) / 2), "by its colour")


def make_judge(more: int = 0, less: int = 2, fails_for: str | None = None) -> ColourJudge:
    """The judge; redder is better, unless told otherwise. Of one record it can be made to say nothing."""
    return ColourJudge(more, less, fails_for)
