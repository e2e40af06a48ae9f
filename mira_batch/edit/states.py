"""Stored states: the first steps of a trajectory of an earlier run, taken as they are."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.pixels import read_only_view
from mira_batch.core.types import ErrorKind, Frame, LoggedStep, Step
from mira_batch.core.usage import Usage
from mira_batch.storage.catalogue.trajectory import FoundTrajectory, index_works, read_trajectory
from mira_batch.storage.manifest import State
from mira_batch.storage.run.steprows import read_answer, read_candidates


class StateLost(Exception):
    """A step can't be taken as it is; says why."""


def take_steps(found: FoundTrajectory, count: int) -> Iterator[LoggedStep]:
    """The first steps of a record, as they would be logged.

    Args:
        found: the record as its run has it.
        count: how many, of those that there are.

    Raises:
        StateLost: the image after one was not kept without loss.
    """
    images = dict(found.images())
    for step in found.row["steps"][:count]:
        data = images.get(f"step-{step['index'] + 1:02d}")
        frame = None if data is None else frame_of(decode_own(data))
        if frame is None or frame.digest != step["after"]:
            raise StateLost(
                f"the image after step {step['index'] + 1} was not kept, or not without loss "
                "(output.step_images, output.format)"
            )
        usage = Usage.of(**step["seconds"], cost=step["cost"])
        fields = {name: step[name] for name in step if name not in ("image", "seconds", "cost")}
        drawn = read_candidates(found.row["candidates"], step["index"])
        said = tuple(read_answer(row) for row in found.row["answers"] or () if row["step"] == step["index"])
        yield LoggedStep(Step(**fields, usage=usage, candidates=drawn, answers=said), frame)


def decode_own(data: bytes) -> Image.Image:
    """An image of our own writing, in RGB or RGBA."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return read_only_view(image.convert("RGBA" if "A" in image.mode else "RGB"))


class States:
    """The states of one run. Its methods block, and may be called from several threads."""

    def __init__(self, run: str, storage: StorageConfig) -> None:
        """
        Args:
            run: the run's directory.
            storage: how it is reached.
        """
        self._run = run
        self._storage = storage
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] | None = None

    def read(self, state: State, original: Frame) -> tuple[LoggedStep, ...]:
        """The steps before a state. What they took was paid for by their own run, and is not counted again.

        Args:
            state: which.
            original: the image that they must begin with.

        Raises:
            RecordError: there is no such state, or it can't be taken as it is.
            StoreError: the run can't be read.
        """
        with self._lock:
            if self._places is None:
                self._places = index_works(self._run, self._storage)
        if (place := self._places.get(state.work_id)) is None:
            raise self._refuse(state, "it has no such trajectory")
        found = read_trajectory(self._run, place, self._storage)
        there = found.row["steps"]
        if state.steps > len(there):
            raise self._refuse(state, f"the trajectory has {len(there)} steps")
        if (there[0]["before"] if there else found.row["source_digest"]) != original.digest:
            raise self._refuse(state, "it begins with another image than this record's")
        try:
            taken = list(take_steps(found, state.steps))
        except StateLost as error:
            raise self._refuse(state, str(error)) from None
        return tuple(_forget_usage(logged) for logged in taken)

    def _refuse(self, state: State, why: str) -> RecordError:
        words = f"branch: {self._run}: work_id {state.work_id}, {state.steps} steps: {why}"
        return RecordError(ErrorKind.state_unusable, words)


def _forget_usage(logged: LoggedStep) -> LoggedStep:
    fields = {name: getattr(logged.step, name) for name in Step.__slots__}
    return LoggedStep(Step(**{**fields, "usage": Usage()}), logged.frame)
