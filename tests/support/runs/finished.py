"""Finished runs for tests, written straight through the storage layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.identity import work_id
from mira_batch.core.types import ErrorKind, Failure, Frame, LoggedStep, StopReason, Trajectory
from mira_batch.core.usage import Usage
from mira_batch.edit.rows import make_result_row
from mira_batch.storage import schema
from mira_batch.storage.encoding import encode
from mira_batch.storage.manifest.listing import ManifestFile
from mira_batch.storage.manifest.planned import PlannedRecord
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planfile import read_shard
from mira_batch.storage.run.planwriter import PlanWriter
from mira_batch.storage.stores.objects import Store
from tests.support.runs.edits import edit_results, open_edit_run
from tests.support.runs.steplogs import a_frame, a_history

ORIGINAL = a_frame((9, 9, 9))
MODELS = {"policy": "rules/1", "editor": "pillow/1", "judge": None}
SECONDS = Usage.of(policy=0.5, editor=1.5, waiting=0.25, io=0.125)


def a_config(out: Path | str, **output: Any) -> BulkEditConfig:
    return BulkEditConfig.model_validate(
        {"input": {"manifest": "/data/m.jsonl"}, "output": {"uri": str(out)} | output, "run_id": "run"}
    )


def a_plan_row(index: int) -> dict[str, Any]:
    return {
        "record_id": f"r{index}",
        "work_id": work_id(f"r{index}", "image", "x", "pipeline"),
        "instruction": f"make it “nicer” {index}",
        "image_uri": f"/data/{index}.png",
        "image_file": None,
        "image_row_group": None,
        "image_row": None,
        "metadata": f'{{"sku": {index}}}',
    }


def a_trajectory(steps: int, fails: bool = False, rejected: tuple[int, ...] = ()) -> Trajectory:
    history = a_history(steps, ORIGINAL, rejected)
    accepted = [logged.frame for logged in history if logged.step.accepted]
    return Trajectory(
        steps=tuple(history),
        result=accepted[-1] if accepted else ORIGINAL,
        stop_reason=None if fails else StopReason.policy_stop,
        failure=Failure(ErrorKind.editor_failed, "ValueError: no") if fails else None,
        usage=SECONDS,
        final_thought="" if fails else "looks right",
    )


def unopened() -> Trajectory:
    """Of a record whose image could not be opened."""
    failure = Failure(ErrorKind.image_unreadable, "a.png: no such file")
    return Trajectory((), Frame(None, ""), None, failure, Usage())


def a_result(plan: dict[str, Any], trajectory: Trajectory, config: BulkEditConfig) -> dict[str, Any]:
    """The row that a worker would write."""

    def picture(logged: LoggedStep) -> dict[str, Any] | None:
        if config.output.step_images == "drop":
            return None
        return {"bytes": encode(logged.frame.pixels, config.output), "path": None}

    opened = trajectory.result.pixels is not None
    image = encode(trajectory.result.pixels, config.output) if opened else None
    pictures = [picture(logged) for logged in trajectory.steps]
    return make_result_row(
        PlannedRecord.from_row(plan), trajectory, image, pictures, MODELS, ORIGINAL.digest if opened else None
    )


def mixed(index: int) -> Trajectory:
    """All sorts: without a step, of several steps, rolled back, failed, never opened."""
    kinds = [a_trajectory(index % 4), a_trajectory(3, rejected=(1,)), a_trajectory(2, fails=True), unopened()]
    return kinds[index % len(kinds)]


def a_run(config: BulkEditConfig, records: int, shard_size: int = 4) -> Store:
    """A finished run of `mixed` records."""
    store = open_edit_run(config, [ManifestFile("/data/m.jsonl", "jsonl", "v1")])
    writer = PlanWriter(store, shard_size, workers=1)
    rows = [a_plan_row(index) for index in range(records)]
    writer.add(pa.Table.from_pylist(rows, schema=schema.PLAN))
    index = 0
    for shard in writer.finish(schema.REJECTS.empty_table()).shards():
        results = []
        for row in read_shard(store, shard):
            results.append(a_result(row, mixed(index), config))
            index += 1
        assert store.create(result_key(shard.index), edit_results(results))
    return store
