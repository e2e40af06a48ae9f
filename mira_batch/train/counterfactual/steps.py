"""From the ends that were reached, and their scores, to what each step was worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.types import ErrorKind, Status
from mira_batch.storage import schema
from mira_batch.storage.counterfactual import name_drop, name_end, name_state
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.results import result_files, tell_unfinished
from mira_batch.train.advantages import (
    KNOWN_END,
    StepAdvantage,
    Value,
    find_ruin,
    measure_steps,
    measure_value,
)
from mira_batch.train.counterfactual.trajectories import Trajectory
from mira_batch.train.grpo.rewards import Scored

ABSENT, CUT_SHORT, NOT_JUDGED = "rejected", "time_limit", "not_judged"
"""Why an end has no score, where no record failed: its row was refused; not all of it was laid down in time;
the judge never saw it."""
_SMALL = ("record_id", "rollout", "status", "stop_reason", "error_kind", "num_steps")


@dataclass(frozen=True, slots=True)
class End:
    """What came of going on from a state, or of laying edits down."""

    score: float | None
    left_out: str | None
    """Why it has none: the kind of fault."""
    edits: tuple[str, ...] = ()
    """All that were made, those before the state included."""


Ends = Mapping[str, Sequence[End]]
"""Ends by the name of their record, rollout by rollout."""


def read_ends(
    run: str, scores: Mapping[tuple[str, int], Scored], number: int, storage: StorageConfig
) -> dict[str, list[End]]:
    """The ends of a run's records.

    Args:
        run: its directory.
        scores: of the results, by record and rollout.
        number: rollouts of each record.
        storage: how it is reached.

    Raises:
        StoreError: a file is damaged.
    """
    fs, files = result_files(run, storage)
    wanted = [schema.RESULTS.field(name) for name in (*_SMALL, "steps")]
    found: dict[str, list[End]] = {}
    for file in files:
        for row in read_result_file(fs, run, file, wanted, _read_small, storage).to_pylist():
            ends = found.setdefault(row["record_id"], [End(None, ABSENT)] * number)
            ends[row["rollout"] or 0] = _make_end(row, scores.get((row["record_id"], row["rollout"] or 0)))
    return found


def _read_small(parquet: pq.ParquetFile) -> pa.Table:
    columns = [*_SMALL, "steps.list.element.instruction"]
    return tell_unfinished(parquet.read(columns=columns, use_threads=False))


def _make_end(row: Mapping[str, Any], scored: Scored | None) -> End:
    edits = tuple(step["instruction"] for step in row["steps"] or ())
    if row["status"] == Status.failed:
        return End(None, row["error_kind"] or "unknown", edits)
    if scored is None or scored.score is None:
        return End(None, (scored and scored.error_kind) or NOT_JUDGED, edits)
    return End(scored.score, None, edits)


def complete_ends(ends: Ends, names: Iterable[str], number: int) -> dict[str, Sequence[End]]:
    """The ends of all records of a manifest, also of those whose rows were refused.

    Args:
        ends: of the run.
        names: of the records.
        number: rollouts of each.
    """
    return {name: ends.get(name, [End(None, ABSENT)] * number) for name in names}


def check_laid(ends: Ends, lengths: Mapping[str, int]) -> dict[str, Sequence[End]]:
    """The ends of laid-down records; one of which not all was made has no score.

    Args:
        ends: of all of them.
        lengths: of each record how many steps it must have.
    """
    return {
        name: [
            end if end.score is None or len(end.edits) == lengths[name] else End(None, CUT_SHORT, end.edits)
            for end in found
        ]
        for name, found in ends.items()
    }


def value_trajectory(
    each: Trajectory, states: Ends, laid: Ends, config: CounterfactualConfig
) -> list[dict[str, Any]]:
    """The rows of schema `VALUED_STEPS` of a trajectory.

    Args:
        each: the trajectory.
        states: ends of the records that go on from its states.
        laid: ends of the records that were laid down.
        config: how sure one must be.
    """
    reached = [states[name_state(each.name, k)] for k in range(len(each.edits) + 1)]
    values = [measure_value([end.score for end in ends]) for ends in reached]
    end = measure_value([found.score for found in laid[name_end(each.name)]])
    if each.stopped:  # the STOP is an action like any other, and its end is there
        values.append(Value(end.mean, None if end.mean is None else KNOWN_END, end.count))
    advantages = measure_steps(values, config.confidence)
    ruin = find_ruin(advantages, config.min_drop)
    return [
        {
            "record_id": each.record_id,
            "rollout": each.rollout,
            "work_id": each.work_id,
            "goal": each.instruction,
            "step": number,
            **_describe_action(each, number),
            **_describe_values(values[number], values[number + 1], advantage),
            "ruined": number == ruin,
            "end_score": end.mean,
            **_describe_drop(each, number, laid, end.mean),
            "tried": [_describe_try(found, number) for found in reached[number] if found.left_out != ABSENT],
            "left_out": _count(reached[number]),
        }
        for number, advantage in enumerate(advantages)
    ]


def _describe_action(each: Trajectory, number: int) -> dict[str, Any]:
    if number == len(each.edits):
        last = [edit.after for edit in each.edits if edit.accepted]
        image = last[-1] if last else each.source_digest
        return {"action": "stop", "edit": None, "accepted": True, "image_before": image, "image_after": image}
    edit = each.edits[number]
    return {
        "action": "edit",
        "edit": edit.instruction,
        "accepted": edit.accepted,
        "image_before": edit.before,
        "image_after": edit.after,
    }


def _describe_values(before: Value, after: Value, advantage: StepAdvantage) -> dict[str, Any]:
    return {
        "value_before": before.mean,
        "value_before_error": before.error,
        "judged_before": before.count,
        "value_after": after.mean,
        "value_after_error": after.error,
        "judged_after": after.count,
        "advantage": advantage.value,
        "advantage_error": advantage.error,
        "advantage_low": advantage.low,
        "advantage_high": advantage.high,
    }


def _describe_drop(each: Trajectory, number: int, laid: Ends, end: float | None) -> dict[str, Any]:
    ends = laid.get(name_drop(each.name, number), ())
    value = measure_value([found.score for found in ends])
    known = value.mean is not None and end is not None
    return {
        "drop_score": value.mean,
        "drop_error": value.error,
        "judged_drops": value.count,
        "drop_effect": end - value.mean if known else None,  # type: ignore[operator]
        "drops_left_out": _count(ends),
    }


def _describe_try(end: End, number: int) -> dict[str, Any]:
    own = end.edits[number:]
    return {"edit": own[0] if own else None, "score": end.score, "steps": len(end.edits)}


def _count(ends: Sequence[End]) -> list[dict[str, Any]]:
    kinds = Counter(end.left_out for end in ends if end.left_out is not None)
    return [{"kind": kind, "count": count} for kind, count in sorted(kinds.items())]


def list_unusable(ends: Ends) -> list[str]:
    """Names of the records whose state could not be had.

    Args:
        ends: of a run.
    """
    lost = (ErrorKind.state_unusable, ErrorKind.image_unreadable, ErrorKind.image_forbidden, ABSENT)
    return sorted(name for name, found in ends.items() if any(end.left_out in lost for end in found))


def describe_ends(ends: Iterable[End]) -> dict[str, Any]:
    """Counts of ends, which add up to them: judged, and left out by kind of fault."""
    kinds = Counter(end.left_out or "judged" for end in ends)
    judged = kinds.pop("judged", 0)
    return {"ends": judged + kinds.total(), "judged": judged, "left_out": dict(sorted(kinds.items()))}
