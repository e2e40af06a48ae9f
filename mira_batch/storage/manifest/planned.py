"""A record of a manifest as the plan holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.core.identity import content_hash, name_rollout
from mira_batch.core.text import MOST_TEXT
from mira_batch.storage.manifest.rows import Place

MOST_STEPS = 1_000
"""As of `limits.max_steps`."""


@dataclass(frozen=True, slots=True)
class State:
    """Where in a trajectory of an earlier run a record begins."""

    work_id: str
    """Of the trajectory."""
    steps: int
    """How many of its steps are taken as they are; 0: it begins with its image."""
    edits: tuple[str, ...] = ()
    """Edits that are then carried out, in their order, before the policy is asked."""
    stop: bool = False
    """Whether nothing more is done after them."""

    def __str__(self) -> str:
        laid_down = f"/edits={content_hash(*self.edits)}" if self.edits else ""
        return f"{self.work_id}/{self.steps}{laid_down}{'/stop' if self.stop else ''}"


def read_state(metadata: str) -> State | None:
    """The state that a row's column `branch` names; None where it names none.

    Args:
        metadata: the manifest's other columns, a JSON object.
    """
    found = json.loads(metadata).get("branch")
    if isinstance(found, str):  # as CSV has it
        try:
            found = json.loads(found)
        except ValueError:
            return None
    if not isinstance(found, Mapping):
        return None
    # Parquet gives every row of a struct all its keys; those that say nothing are null.
    said = {name: value for name, value in found.items() if value is not None}
    if not {"work_id", "steps"} <= said.keys() <= {"work_id", "steps", "edits", "stop"}:
        return None
    work, steps, edits, stop = said["work_id"], said["steps"], said.get("edits", []), said.get("stop", False)
    if not isinstance(work, str) or not re.fullmatch("[0-9a-f]{32}", work):
        return None
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps < MOST_STEPS:
        return None
    if not isinstance(edits, list) or steps + len(edits) > MOST_STEPS or not isinstance(stop, bool):
        return None
    if not all(isinstance(words, str) and 0 < len(words.strip()) <= MOST_TEXT for words in edits):
        return None
    return State(work, steps, tuple(edits), stop)


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """One row of a plan of schema `PLAN`."""

    record_id: str
    work_id: str
    instruction: str
    """Empty where the job has none."""
    image: str | Place
    """URI or path of the image, or the row of the manifest that holds it."""
    metadata: str
    """The manifest's other columns, a JSON object."""
    rollout: int | None = None
    """Which of several trajectories of the record, from 0; None where it has one."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PlannedRecord:
        """A row of the plan, as Arrow gives it."""
        image = row["image_uri"]
        if image is None:
            image = Place(row["image_file"], row["image_row_group"], row["image_row"])
        return cls(
            row["record_id"],
            row["work_id"],
            row["instruction"],
            image,
            row["metadata"],
            row.get("rollout"),
        )

    @property
    def name(self) -> str:
        """What it is called among the others of its run."""
        return name_rollout(self.record_id, self.rollout)

    @property
    def source(self) -> str:
        """Where the image is, in words: its URI, or its place in the manifest."""
        return str(self.image)
