"""The peers' own code: the loop as one would write it on Ray Data, each following its documentation.

Images are decoded and encoded in tasks beside the actors, rows travel through Ray's object store, and the
models are those that our workers have: `simulated`, through the real Protocols.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.models import NotingEditor, NotingPolicy
from mira_batch.config.edit import InputConfig
from mira_batch.core.actions import parse_action
from mira_batch.core.identity import seed
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Edit, Frame, Step
from mira_batch.imaging import encode_png
from mira_batch.storage.images import decode

Row = dict[str, Any]
Batch = dict[str, Any]
Turn = Callable[[str], AbstractContextManager[None]]


def read_image(row: Row) -> Row:
    """A task: the decoded image of a record, and columns for what the loop will add."""
    data = Path(row["image"]).read_bytes()
    image = decode(data, row["image"], InputConfig(manifest=row["image"]))
    return row | {"image": np.asarray(image), "edits": "", "done": False}


def write_image(row: Row) -> Row:
    """A task: the result as it goes into the Parquet file."""
    return {
        "record_id": row["record_id"],
        "edits": row["edits"],
        "result": encode_png(Image.fromarray(row["image"])),
    }


class OneAtATime:
    """(c) An actor that runs one record at a time, from its first edit to STOP."""

    def __init__(self, models: dict[str, Any]) -> None:
        self._loop = _Loop(models)

    def __call__(self, row: Row) -> Row:
        record = _Record(row)
        while not record.done:
            self._loop.step([record])
        return record.row()


class Lockstep:
    """(a) An actor that runs a batch of records side by side: all ask the policy, then all are edited."""

    def __init__(self, models: dict[str, Any]) -> None:
        self._loop = _Loop(models)

    def __call__(self, batch: Batch) -> Batch:
        records = [_Record(row) for row in _rows(batch)]
        while active := [record for record in records if not record.done]:
            self._loop.step(active)
        return _columns(records)


class Stage:
    """(b) An actor of one of K stages: one step of the records that aren't done; others pass through."""

    def __init__(self, models: dict[str, Any], devices: str, number: int) -> None:
        self._loop = _Loop(models, lambda role: _device(Path(devices), role, number))

    def __call__(self, batch: Batch) -> Batch:
        records = [_Record(row) for row in _rows(batch)]
        if active := [record for record in records if not record.done]:
            self._loop.step(active)
        return _columns(records)


@dataclass
class _Record:
    """A row on its way through the loop."""

    source: Row
    edits: list[str] = field(init=False)
    current: Frame = field(init=False)

    def __post_init__(self) -> None:
        self.edits = self.source["edits"].split("\n") if self.source["edits"] else []
        self.current = Frame(Image.fromarray(self.source["image"]), "")
        self.done = bool(self.source["done"])

    def ask(self) -> PolicyRequest:
        history = tuple(Step(i, "", edit, "", 0, 0, "", "", True, None) for i, edit in enumerate(self.edits))
        name, words = self.source["record_id"], self.source["instruction"]
        return PolicyRequest(name, words, self.current, self.current, history, 0)

    def edit(self, words: str) -> EditRequest:
        name, step = self.source["record_id"], len(self.edits)
        draw = seed(name, "editor", step, 0)
        return EditRequest(name, words, self.current, self.current, draw, step)

    def row(self) -> Row:
        image = np.asarray(self.current.pixels)
        return self.source | {"image": image, "edits": "\n".join(self.edits), "done": self.done}


class _Loop:
    """The models of one actor, and one step of some records with them."""

    def __init__(self, models: dict[str, Any], turn: Turn = lambda role: nullcontext()) -> None:
        self._policy = NotingPolicy(**models["policy"])
        self._editor = NotingEditor(**models["editor"])
        self._turn = turn
        """Entered for a call of a model, where actors share devices."""

    def step(self, records: Sequence[_Record]) -> None:
        todo: list[tuple[_Record, EditRequest]] = []
        for part in _parts(records, self._policy.max_batch):
            with self._turn("policy"):
                answers = self._policy.propose([record.ask() for record in part])
            for record, answer in zip(part, answers, strict=True):
                action = parse_action(str(answer))
                if isinstance(action, Edit):
                    todo.append((record, record.edit(action.instruction)))
                else:
                    record.done = True
        for part in _parts(todo, self._editor.max_batch):
            with self._turn("editor"):
                images = self._editor.apply([request for _, request in part])
            for (record, request), image in zip(part, images, strict=True):
                record.edits.append(request.instruction)
                record.current = Frame(image, "")


@contextmanager
def _device(folder: Path, role: str, number: int) -> Iterator[None]:
    """A device for one call of that role: whichever of so many is free, or is so first.

    Actors of several stages share the devices; each device makes one call of each role at a time.
    """
    files = [open(folder / f"{role}-{i}", "w") for i in range(number)]  # noqa: SIM115 - closed below
    try:
        while not any(_locked(file) for file in files):
            time.sleep(0.001)
        yield
    finally:
        for file in files:
            file.close()


def _locked(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parts(items: Sequence[Any], most: int) -> list[Any]:
    return [items[at : at + most] for at in range(0, len(items), most)]


def _rows(batch: Batch) -> list[Row]:
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def _columns(records: Sequence[_Record]) -> Batch:
    rows = [record.row() for record in records]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return columns | {"image": np.stack(columns["image"])}
