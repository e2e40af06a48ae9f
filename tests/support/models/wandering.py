"""A policy, and a judge: the policy goes the way that a test has written down for each record, wrong turns
included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mira_batch.core.actions import format_action
from mira_batch.core.ports import Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, StopAction
from mira_batch.models.embedded import RulesJudge


class WanderingPolicy:
    """Names these edits one after the other, and then stops."""

    identity = "wandering/1"
    max_batch = 8

    def __init__(self, ways: Mapping[str, Sequence[str]]) -> None:
        self._ways = ways

    def bucket(self, request: PolicyRequest) -> None:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> list[str]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str:
        way, done = self._ways[request.record_id], len(request.history)
        if done == len(way):
            return format_action(StopAction("all is done", "nothing is missing"))
        return format_action(Edit(way[done], f"step {done + 1} is missing"))


def make_policy(ways: Mapping[str, Sequence[str]]) -> WanderingPolicy:
    return WanderingPolicy(ways)


class LenientJudge(RulesJudge):
    """The exact judge, but an image of which nothing is right is not refused: 0.1 in place of 0."""

    def score(self, requests: Sequence[JudgeRequest]) -> list[Judgement | Exception]:
        found = super().score(requests)
        return [replace(j, score=0.1 + 0.9 * j.score) if isinstance(j, Judgement) else j for j in found]


def make_judge() -> LenientJudge:
    return LenientJudge()
