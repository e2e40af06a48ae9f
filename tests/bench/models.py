"""Models for measuring, named in configs as `custom` factories: they cost nothing, or note their calls."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mira_batch.config.simulated import SimulatedEditorConfig, StepCounts
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import EditTask, LoggedStep
from mira_batch.models.simulated import SimulatedEditor, step_count
from mira_batch.storage.images import encode_png
from mira_batch.storage.steplog import ShardLog


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


class NotingEditor:
    """The simulated editor, which also notes begin, end and batch size of its calls in a file."""

    def __init__(self, notes: str, settings: dict[str, Any]) -> None:
        self._editor = SimulatedEditor(SimulatedEditorConfig.model_validate(settings))
        self._notes = Path(notes) / f"{uuid.uuid4().hex}.jsonl"
        self.identity = self._editor.identity
        self.max_batch = self._editor.max_batch
        self.bucket = self._editor.bucket

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        begin = time.time()
        answers = self._editor.apply(requests)
        note = {"worker": os.getpid(), "begin": begin, "end": time.time(), "edits": len(requests)}
        with open(self._notes, "a") as file:
            file.write(json.dumps(note) + "\n")
        return answers


class NoLog(ShardLog):
    """A step log that encodes each step's image, as the result file takes it over, and writes nothing."""

    def open(self) -> list[str]:
        return []

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        self._png[logged.step.after] = await asyncio.to_thread(encode_png, logged.frame.pixels)
        return logged

    def delete(self) -> None: ...


def free_policy() -> FreePolicy:
    return FreePolicy()


def free_editor() -> FreeEditor:
    return FreeEditor()


def noting_editor(notes: str, settings: dict[str, Any]) -> NotingEditor:
    return NotingEditor(notes, settings)
