"""Runs that make several trajectories of each record: what their plans hold, and who refuses them.

A record has one current result in a catalogue, so these runs are in none. Whoever wants one result of a
record refuses them, and never takes one of several for the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mira_batch.core.errors import RunConflict
from mira_batch.core.identity import rollout_work_id


def expand_rollouts(rows: pa.Table, rollouts: int) -> pa.Table:
    """Rows of a plan, each as often as there are trajectories of a record, those of a record together.

    Args:
        rows: with a `work_id`.
        rollouts: trajectories of each record; of 1 the rows stay as they are.

    Returns rows with one column more, `rollout`, and a `work_id` of their own.
    """
    if rollouts == 1:
        return rows
    places = [place for place in range(rows.num_rows) for _ in range(rollouts)]
    numbers = [*range(rollouts)] * rows.num_rows
    repeated = rows.take(pa.array(places, pa.int64()))
    works = [
        rollout_work_id(work, number)
        for work, number in zip(repeated["work_id"].to_pylist(), numbers, strict=True)
    ]
    at = repeated.schema.get_field_index("work_id")
    repeated = repeated.set_column(at, "work_id", pa.array(works, pa.string()))
    return repeated.append_column("rollout", pa.array(numbers, pa.int32()))


def count_rollouts(about: Mapping[str, Any]) -> int:
    """How many trajectories of each record a run makes.

    Args:
        about: its `run.json`.
    """
    return about["settings"].get("rollouts", 1)


def is_apart(about: Mapping[str, Any]) -> bool:
    """Whether a run is no part of the catalogue: it has several rollouts, or branches of other trajectories.

    Args:
        about: its `run.json`.
    """
    return count_rollouts(about) > 1 or about["settings"].get("input", {}).get("branches") is not None


def refuse_rollouts(about: Mapping[str, Any], run: str, fix: str) -> None:
    """Refuse a run with several trajectories of each record where one is wanted.

    Args:
        about: its `run.json`.
        run: its directory.
        fix: what to do, in words.

    Raises:
        RunConflict: it has.
    """
    if (number := count_rollouts(about)) > 1:
        raise RunConflict(f"{run}: has {number} rollouts of each record, and one result is wanted; {fix}")
