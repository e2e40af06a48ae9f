"""Runs one record of a finished run once more, here, and says what of it comes out otherwise."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.core.replay import Difference, Replay
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import EditTask, ErrorKind, LoggedStep, StopReason
from mira_batch.edit.job import EditJob
from mira_batch.edit.states import StateLost, decode_own, take_steps
from mira_batch.runtime.activity import ActivityReport
from mira_batch.runtime.job import PlanRow, WorkerContext
from mira_batch.storage.catalogue.trajectory import FoundTrajectory
from mira_batch.storage.run.planfile import read_plan, read_shard
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores import Store, open_store

_ENDED_BY = {
    ErrorKind.image_unreadable: "input",
    ErrorKind.image_too_large: "input",
    ErrorKind.image_forbidden: "input",
    ErrorKind.state_unusable: "input",
    ErrorKind.editor_failed: "editor",
    ErrorKind.editor_out_of_memory: "editor",
    ErrorKind.judge_failed: "judge",
    ErrorKind.judge_refused: "judge",
    ErrorKind.step_timeout: "limits",
    ErrorKind.worker_crash: "worker",
    StopReason.judge_satisfied: "judge",
    StopReason.max_steps: "limits",
    StopReason.new_steps: "limits",
    StopReason.no_progress: "limits",
    StopReason.oscillation: "limits",
    StopReason.time_limit: "limits",
    StopReason.laid_down: "input",
}
"""Which component ended a record; all else is the policy."""


def replay(
    found: FoundTrajectory, job: EditJob, from_step: int, on_activity: Callable[[str], None]
) -> Replay:
    """Run a record once more with the settings of its run, in this process, with the same seeds.

    Args:
        found: the record as its run has it.
        job: the run's job.
        from_step: the steps before it are taken as they are; 0 makes all anew.
        on_activity: told what it is at.

    Raises:
        ConfigError: the record has no such step, or a step before it has no image that is kept without loss.
        StoreError: the run's plan can't be read.
        UserError: a model can't be loaded.
    """
    row, planned = found.row, _find_planned(found.run, found.row)
    with (
        tempfile.TemporaryDirectory(prefix="mira-batch-") as scratch,
        ThreadPoolExecutor(4) as readers,
    ):
        store = open_store(scratch, StorageConfig())
        log = ShardLog(store, 0)
        for logged in _take_steps(found, from_step):
            log._append(_make_task(planned), logged)
        log.open()
        activity = _Told(on_activity)
        context = WorkerContext(store=store, activity=activity, stop=StopRequest(), readers=readers)
        plan_row = PlanRow(planned["record_id"], planned["work_id"], 0, planned)
        new, identities = asyncio.run(_run(job, context, plan_row, log))
        if from_step and planned["image_uri"] is not None:  # the row has what the first step began with
            new = {**new, "source_digest": job.find_pixel_digest(planned)}
        models = {
            role: (then, identities.get(role))
            for role, then in row["models"].items()
            if then != identities.get(role)
        }
        return Replay(row, new, models, _compare(found, new, models))


async def _run(
    job: EditJob, context: WorkerContext, row: PlanRow, log: ShardLog
) -> tuple[Mapping[str, Any], Mapping[str, str | None]]:
    runner = await job.open(context)
    try:
        return (await runner.run(row, log)).row, runner.identities
    finally:
        await runner.close()


class _Told(ActivityReport):
    def __init__(self, on_activity: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = on_activity

    def move(self, record_id: str, doing: str, step: int | None = None) -> None:
        self._tell(doing if step is None else f"step {step + 1}: {doing}")
        super().move(record_id, doing, step)


def _find_planned(run: Store, row: Mapping[str, Any]) -> Mapping[str, Any]:
    plan = read_plan(run)
    for shard in plan.shards() if plan is not None else ():
        for planned in read_shard(run, shard):
            if planned["work_id"] == row["work_id"]:
                return planned
    raise StoreError(f"{run.uri}: its plan has no record {row['record_id']!r}; it can't be run again from it")


def _make_task(planned: Mapping[str, Any]) -> EditTask:
    return EditTask(planned["record_id"], planned["work_id"], planned["instruction"], planned["metadata"])


def _take_steps(found: FoundTrajectory, count: int) -> Iterator[LoggedStep]:
    """The first steps of a record, as they would be logged."""
    if count > (there := len(found.row["steps"])):
        raise ConfigError(f"--from-step {count + 1}: should be at most {there + 1}: {there} steps were made")
    try:
        yield from take_steps(found, count)
    except StateLost as error:
        raise ConfigError(f"--from-step {count + 1}: {error}; begin at the first step") from None


def _compare(
    found: FoundTrajectory, new: Mapping[str, Any], models: Mapping[str, object]
) -> Difference | None:
    """The first place where the replay went another way.

    Args:
        found: the record as its run has it.
        new: the row of the replay.
        models: by role, those that are others by now.
    """
    old = found.row
    if old["source_digest"] != new["source_digest"]:
        was, now = (row["source_digest"] or _name_end(row) for row in (old, new))
        return Difference(None, "input", was, now)
    images = [dict(found.images()), dict(FoundTrajectory(found.run, new).images())]
    for index, (then, now) in enumerate(zip(old["steps"], new["steps"], strict=False)):
        if then["raw_answer"] != now["raw_answer"]:
            return Difference(index, "policy", then["raw_answer"], now["raw_answer"])
        if then["after"] != now["after"]:
            pair = [side.get(f"step-{index + 1:02d}") for side in images]
            return Difference(index, "editor", then["after"], now["after"], _measure(pair[0], pair[1]))
        if (then["score"], then["accepted"]) != (now["score"], now["accepted"]):
            return Difference(index, "judge", f"score {then['score']}", f"score {now['score']}")
    if len(old["steps"]) != len(new["steps"]):
        ended = min(old, new, key=lambda row: len(row["steps"]))
        was, now = (_name_answer(row, len(ended["steps"])) for row in (old, new))
        return Difference(len(ended["steps"]), _who_ended(ended, models), was, now)
    if (old["error_kind"], old["stop_reason"]) != (new["error_kind"], new["stop_reason"]):
        roles = [_who_ended(row, models) for row in (new, old)]
        role = roles[0] if roles[0] != "policy" else roles[1]
        return Difference(None, role, _name_end(old), _name_end(new))
    was, now = (str(row["result_digest"]) for row in (old, new))
    if was != now:
        return Difference(
            None, "editor", was, now, _measure(images[0].get("result"), images[1].get("result"))
        )
    return None


def _name_answer(row: Mapping[str, Any], index: int) -> str:
    steps = row["steps"]
    return str(steps[index]["raw_answer"]) if index < len(steps) else f"an end: {_name_end(row)}"


def _name_end(row: Mapping[str, Any]) -> str:
    return str(row["stop_reason"] or f"{row['error_kind']}: {row['error_message']}")


def _who_ended(row: Mapping[str, Any], models: Mapping[str, object]) -> str:
    role = _ENDED_BY.get(row["error_kind"] or row["stop_reason"], "policy")
    # What an editor that failed was asked for isn't in the row; another policy may have asked for another.
    return "policy" if role == "editor" and "policy" in models and "editor" not in models else role


def _measure(old: bytes | None, new: bytes | None) -> float | None:
    if old is None or new is None:
        return None
    pixels = [np.asarray(decode_own(data), np.float32) for data in (old, new)]
    return None if pixels[0].shape != pixels[1].shape else float(np.abs(pixels[0] - pixels[1]).mean())
