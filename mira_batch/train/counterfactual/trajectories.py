"""The trajectories that are looked at: which of a run, and what is known of each without its images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.core.identity import content_hash, name_rollout
from mira_batch.core.types import Status, StopReason
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns, read_result_file, shard_in
from mira_batch.storage.run.results import fill_added, result_files

_HEAD = ("record_id", "rollout", "work_id", "status", "num_steps")
_WHOLE = ("record_id", "rollout", "work_id", "instruction", "stop_reason", "source", "source_digest",
          "metadata", "seconds", "cost")  # fmt: skip
_OF_STEPS = ("instruction", "accepted", "before", "after")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Edit:
    """A step of a trajectory."""

    instruction: str
    accepted: bool
    before: str
    after: str
    """Digests of the images around it."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A trajectory of the run, without its images."""

    record_id: str
    rollout: int | None
    work_id: str
    instruction: str
    stopped: bool
    """Whether its policy ended it."""
    source: str
    """Where its original is."""
    source_digest: str
    metadata: str
    edits: tuple[Edit, ...]
    seconds: Mapping[str, float]
    """What it took of each kind."""
    cost: float

    @property
    def name(self) -> str:
        """What it is called among the others of its run."""
        return name_rollout(self.record_id, self.rollout)

    def list_drops(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Each step that can be left out, and the edits that are then laid down: those that followed it. What
        the judge in the loop rolled back is in no image, and neither left out nor laid down."""
        for number, edit in enumerate(self.edits):
            if edit.accepted:
                rest = self.edits[number + 1 :]
                yield number, tuple(each.instruction for each in rest if each.accepted)


@dataclass(frozen=True)
class Chosen:
    """The trajectories that are looked at, and what became of the others. Counts add up to the run's rows."""

    trajectories: list[Trajectory]
    counts: dict[str, int]
    """Of the run's rows: chosen, not_chosen, and left out as failed, without_steps or too_long."""


def choose_trajectories(config: CounterfactualConfig) -> Chosen:
    """Choose trajectories of the run, and read them.

    Args:
        config: names the run, and which.

    Raises:
        ConfigError: a record that it names is not in the run; or none is left.
        StoreError: the run can't be read.
    """
    counts, places = Counter[str](), dict[str, tuple[int, int]]()
    wanted, met = set(config.records or ()), set[str]()
    for file, table in read_columns(config.run, _HEAD, schema.RESULTS, config.storage, _raise):
        for place, row in enumerate(table.to_pylist()):
            name = name_rollout(row["record_id"], row["rollout"])
            asked = {name, row["record_id"]} & wanted
            met |= asked
            if config.records is not None and not asked:
                counts["not_chosen"] += 1
            elif (reason := _find_reason(row, config.max_steps)) is not None:
                counts[reason] += 1
            else:
                places[name] = (shard_in(file), place)
    if missing := sorted(wanted - met):
        shown = ", ".join(missing[:_NAMED])
        raise ConfigError(
            f"records: {config.run} has no {shown} ({len(missing)} of {len(wanted)} are not there)"
        )
    names = list(places) if config.records is not None else nsmallest(config.sample, places, key=content_hash)
    counts["not_chosen"] += len(places) - len(names)
    counts["chosen"] = len(names)
    if not names:
        left = ", ".join(
            f"{kind.replace('_', ' ')} {count:,}" for kind, count in sorted(counts.items()) if count
        )
        raise ConfigError(
            f"{config.run}: no trajectory is left to look at ({left or 'it has no results yet'})"
        )
    by_file: dict[int, list[int]] = defaultdict(list)
    for name in names:
        by_file[places[name][0]].append(places[name][1])
    found = [
        each for shard in sorted(by_file) for each in _read(config.run, shard, by_file[shard], config.storage)
    ]
    return Chosen(found, dict(counts))


def _find_reason(row: Mapping[str, Any], max_steps: int) -> str | None:
    """Why a trajectory can't be looked at."""
    if row["status"] == Status.failed:
        return "failed"
    if not row["num_steps"]:
        return "without_steps"
    return "too_long" if row["num_steps"] > max_steps else None


def _read(run: str, shard: int, places: Sequence[int], storage: StorageConfig) -> list[Trajectory]:
    fs, files = result_files(run, storage)
    file = next(file for file in files if shard_in(file) == shard)
    wanted = [schema.RESULTS.field(name) for name in (*_WHOLE, "steps")]
    table = read_result_file(fs, run, file, wanted, partial(_take, places=sorted(places)), storage)
    return [_make(row) for row in table.to_pylist()]


def _take(parquet: pq.ParquetFile, places: Sequence[int]) -> pa.Table:
    known = [name for name in _WHOLE if name in parquet.schema_arrow.names]
    columns = [*known, *(f"steps.list.element.{name}" for name in _OF_STEPS)]
    return fill_added(parquet.read(columns=columns, use_threads=False).take(list(places)), [*_WHOLE, "steps"])


def _make(row: Mapping[str, Any]) -> Trajectory:
    return Trajectory(
        row["record_id"],
        row["rollout"],
        row["work_id"],
        row["instruction"],
        row["stop_reason"] == StopReason.policy_stop,
        row["source"],
        row["source_digest"] or "",
        row["metadata"] or "{}",
        tuple(Edit(*(step[name] for name in _OF_STEPS)) for step in row["steps"]),
        {kind: seconds or 0.0 for kind, seconds in (row["seconds"] or {}).items()},
        row["cost"] or 0.0,
    )


def _raise(error: StoreError) -> None:
    raise error
