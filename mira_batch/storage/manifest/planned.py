"""A record of a manifest as the plan holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.core.identity import name_rollout
from mira_batch.storage.manifest.rows import Place


@dataclass(frozen=True, slots=True)
class State:
    """Where in a trajectory of an earlier run a record begins."""

    work_id: str
    """Of the trajectory."""
    steps: int
    """How many of its steps are taken as they are; 0: it begins with the image, as the trajectory did."""

    def __str__(self) -> str:
        return f"{self.work_id}/{self.steps}"


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
    if not isinstance(found, Mapping) or found.keys() != {"work_id", "steps"}:
        return None
    work, steps = found["work_id"], found["steps"]
    if not isinstance(work, str) or not re.fullmatch("[0-9a-f]{32}", work):
        return None
    return State(work, steps) if isinstance(steps, int) and 0 <= steps < 1_000 else None


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
