"""Models for measuring, named in configs as `custom` factories: they cost nothing, or note their calls."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.timeline import Call
from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
    StepCounts,
)
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import EditTask, LoggedStep
from mira_batch.imaging import encode_frame
from mira_batch.models.simulated import SimulatedEditor, SimulatedJudge, SimulatedPolicy, step_count
from mira_batch.storage.run.steplog import ShardLog

_TOGETHER = 180.0
"""Seconds that workers wait for one another."""


class FreePolicy:
    """Stops after as many edits as `step_count` says, and spends no time on its words."""

    identity = "free-policy"
    max_batch = 64

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str:
        more = len(request.history) < step_count(request.record_id, StepCounts())
        return "<edit>go on</edit>" if more else "<stop>done</stop>"


class FreeEditor:
    """Answers with a one-coloured image of the same size, drawn from the seed."""

    identity = "free-editor"
    max_batch = 64

    def bucket(self, request: EditRequest) -> Hashable:
        return None

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        return [Image.new("RGB", request.image.size, request.seed & 0xFFFFFF) for request in requests]


class _Notes:
    """A file of one model's calls, a line each.

    With `together` it waits in the constructor until that many processes have made theirs, so that all
    workers of a short run begin at once.
    """

    def __init__(self, folder: str, role: str, together: int = 1) -> None:
        self._role = role
        self._path = Path(folder) / f"{role}-{uuid.uuid4().hex}.jsonl"
        self._path.touch()
        until = time.monotonic() + _TOGETHER
        while len(list(Path(folder).glob(f"{role}-*"))) < together:
            if time.monotonic() > until:
                raise RuntimeError(f"{together} workers did not come up within {_TOGETHER:g} s")
            time.sleep(0.05)

    def write(self, begin: float, size: int, fresh: int = 0) -> None:
        note = Call(os.getpid(), begin, time.time(), size, fresh)
        with open(self._path, "a") as file:
            file.write(json.dumps({"role": self._role} | asdict(note)) + "\n")


class NotingEditor:
    """The simulated editor, which also notes its calls."""

    def __init__(self, notes: str, settings: dict[str, Any], together: int = 1) -> None:
        self._editor = SimulatedEditor(SimulatedEditorConfig.model_validate(settings))
        self._notes = _Notes(notes, "editor", together)
        self.identity = self._editor.identity
        self.max_batch = self._editor.max_batch
        self.bucket = self._editor.bucket

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        begin = time.time()
        answers = self._editor.apply(requests)
        self._notes.write(begin, len(requests))
        return answers


class NotingPolicy:
    """The simulated policy, which also notes its calls."""

    def __init__(self, notes: str, settings: dict[str, Any]) -> None:
        self._policy = SimulatedPolicy(SimulatedPolicyConfig.model_validate(settings))
        self._notes = _Notes(notes, "policy")
        self.identity = self._policy.identity
        self.max_batch = self._policy.max_batch
        self.bucket = self._policy.bucket

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        begin = time.time()
        answers = self._policy.propose(requests)
        self._notes.write(begin, len(requests), fresh=sum(not request.history for request in requests))
        return answers


class NotingJudge:
    """The simulated judge, which also notes its calls."""

    def __init__(self, notes: str, settings: dict[str, Any], together: int = 1) -> None:
        self._judge = SimulatedJudge(SimulatedJudgeConfig.model_validate(settings))
        self._notes = _Notes(notes, "judge", together)
        self.identity = self._judge.identity
        self.max_batch = self._judge.max_batch
        self.bucket = self._judge.bucket

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        begin = time.time()
        answers = self._judge.score(requests)
        self._notes.write(begin, len(requests), fresh=len(requests))
        return answers


class NoLog(ShardLog):
    """A step log that encodes each step's image, as the result file takes it over, and writes nothing."""

    def open(self) -> list[str]:
        return []

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        await asyncio.to_thread(encode_frame, logged.frame)
        return logged

    def delete(self) -> None: ...


def free_policy() -> FreePolicy:
    return FreePolicy()


def free_editor() -> FreeEditor:
    return FreeEditor()


def noting_editor(notes: str, settings: dict[str, Any], together: int = 1) -> NotingEditor:
    return NotingEditor(notes, settings, together)


def noting_policy(notes: str, settings: dict[str, Any]) -> NotingPolicy:
    return NotingPolicy(notes, settings)


def noting_judge(notes: str, settings: dict[str, Any], together: int = 1) -> NotingJudge:
    return NotingJudge(notes, settings, together)
