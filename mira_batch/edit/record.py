"""One record of a bulk edit: its image, its loop over the worker's models, and the row it ends in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import seed_source
from mira_batch.core.loop import run_record
from mira_batch.core.pixels import read_only_view
from mira_batch.core.ports import (
    EditRequest,
    Judgement,
    JudgeRequest,
    Models,
    PolicyRequest,
    Timed,
)
from mira_batch.core.receipts import Tally
from mira_batch.core.types import (
    EditTask,
    ErrorKind,
    Failure,
    Frame,
    Keep,
    LaidDown,
    LoggedStep,
    Status,
    Trajectory,
)
from mira_batch.core.usage import Usage
from mira_batch.edit.labelled import LabelledImages
from mira_batch.edit.rows import make_result_row
from mira_batch.edit.shared_images import SharedImages
from mira_batch.edit.states import States
from mira_batch.edit.urgency import rank_request
from mira_batch.imaging import Fidelity, measure_fidelity
from mira_batch.marks import Marks
from mira_batch.models.clients import ModelClients
from mira_batch.models.serving import check_frame
from mira_batch.runtime.job import OnCall, PlanRow, RecordPostponed, RecordResult, RecordRunner, WorkerContext
from mira_batch.storage.manifest import ManifestImages, PlannedRecord, read_state
from mira_batch.storage.run.step_images import step_image_key
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.run.steprows import make_answer_rows, make_judged_rows

_NONE = Frame(None, "")
"""In place of an image that can't be had."""


class EditRunner(RecordRunner):
    """Runs the loop of policy, editor and judge on one record at a time, for many at once."""

    def __init__(
        self, config: BulkEditConfig, context: WorkerContext, models: ModelClients, images: ManifestImages
    ) -> None:
        self._config = config
        self._context = context
        self._models = models
        self._images = SharedImages(images, config.output.metadata == "keep")
        output = config.output
        branches = config.input.branches
        self._states = None if branches is None else States(branches, config.storage)
        self._keep = Keep(answers=output.tokens, candidates=output.candidates == "images")

    @property
    def identities(self) -> Mapping[str, str | None]:
        """Policy, editor and judge; None where there is no judge."""
        return self._models.identities

    @property
    def usage(self) -> Usage:
        """Seconds of all model calls so far."""
        return self._models.usage

    @property
    def out_of_memory(self) -> int:
        """How many calls of any model ran out of memory so far."""
        return self._models.out_of_memory

    @property
    def requests_together(self) -> int:
        """The most requests that calls of all models take at the same time."""
        return self._models.requests_together

    def listen(self, on_call: OnCall) -> None:
        """Have each model call told of when it has ended."""
        self._models.listen(on_call)

    async def run(self, row: PlanRow, steps: ShardLog) -> RecordResult:
        """Fetch the image, run the loop, encode what it gave."""
        started = time.perf_counter()
        record = PlannedRecord.from_row(row.columns)
        self._context.activity.move(record.name, "reading", 0)
        with self._images.use(record):
            try:
                (original, marks), retries = await self._images.open(record)
            except RecordError as error:
                usage = Usage.of(io=time.perf_counter() - started, retries=error.retries)
                return self._end(record, _fail_without_image(error.failure, usage))
            try:
                taken = await self._take_state(record, original)
            except RecordError as error:
                usage = Usage.of(io=time.perf_counter() - started, retries=retries)
                begun = Trajectory((), original, None, error.failure, usage)
                return await asyncio.to_thread(self._finish, record, begun, original, marks)
            opened = Usage.of(io=time.perf_counter() - started, retries=retries)
            loop = _Loop(self._context, self._models, row, steps, taken)
            task = self._make_task(record)
            given = len(taken) + (0 if task.laid_down is None else len(task.laid_down.edits))
            limits = self._config.loop_limits(given)
            trajectory = await run_record(task, original, loop.models, loop, limits, self._keep)
            trajectory = replace(trajectory, usage=trajectory.usage + opened)
            self._context.activity.move(record.name, "writing", len(trajectory.steps))
            return await asyncio.to_thread(self._finish, record, trajectory, original, marks)

    async def fail(self, row: PlanRow, steps: ShardLog, failure: Failure) -> RecordResult:
        """The row of a record that is not run again: its logged steps, and its best image so far, at worst
        the original, where it can still be had."""
        record = PlannedRecord.from_row(row.columns)
        history = await steps.load(_make_task(record))
        best = next((s.frame for s in reversed(history) if s.step.accepted), None)
        original, marks, retries = _NONE, None, 0
        if row.readable:
            self._context.activity.move(record.name, "reading", len(history))
            with suppress(RecordError), self._images.use(record):  # gone or changed by now
                (original, marks), retries = await self._images.open(record)
        paid = (replace(logged.step.usage, seconds={}) for logged in history)
        usage = sum(paid, Usage(retries=retries))
        trajectory = Trajectory(history, best or original, None, failure, usage, resumed_steps=len(history))
        return await asyncio.to_thread(self._finish, record, trajectory, original, marks)

    async def close(self) -> None:
        """End the models, and close the file of embedded images."""
        await self._models.close()
        await asyncio.to_thread(self._images.close)

    async def _take_state(self, record: PlannedRecord, original: Frame) -> tuple[LoggedStep, ...]:
        """The steps that a record begins after; empty where it begins with its image."""
        state = read_state(record.metadata)
        if self._states is None or state is None:
            return ()
        return await asyncio.to_thread(self._states.read, state, original)

    def _make_task(self, record: PlannedRecord) -> EditTask:
        """The record as the loop takes it, with the edits that its state asks for."""
        task, seed = _make_task(record), self._config.seed
        state = read_state(record.metadata) if self._states is not None else None
        if seed is not None:
            begun = "" if state is None else str(state)
            source = seed_source(seed, record.record_id, record.instruction, record.rollout, begun)
            task = replace(task, given_seed_source=source)
        if state is None or not (state.edits or state.stop):
            return task
        return replace(task, laid_down=LaidDown(state.edits, state.steps, state.stop))

    def _end(self, record: PlannedRecord, trajectory: Trajectory) -> RecordResult:
        """The row of a record whose image can't be opened."""
        logged = self._describe_learning(record, trajectory, [])
        row = make_result_row(record, trajectory, None, [], self.identities, None, logged=logged)
        return RecordResult(row, count_trajectory(trajectory))

    def _finish(
        self,
        record: PlannedRecord,
        trajectory: Trajectory,
        original: Frame,
        marks: Marks | None,
    ) -> RecordResult:
        """Encode what a record gave. An image that the output format can't hold fails the record."""
        started = time.perf_counter()
        trajectory = self._restore(trajectory, original)
        written = LabelledImages(
            self._config.output, original.digest, marks or Marks(), self._models.source_type
        )
        try:
            pictures = [
                self._keep_step_image(record.work_id, step.step.index, step.frame, written)
                for step in trajectory.steps
            ]
            judged = make_judged_rows(
                trajectory.steps,
                lambda step, frame: self._keep_step_image(record.work_id, step.step.index, frame, written),
            )
            image = written.encode(trajectory.result) if trajectory.result is not _NONE else None
        except RecordError as error:
            trajectory = replace(trajectory, failure=error.failure, stop_reason=None)
            pictures, image = [None] * len(trajectory.steps), None
            judged = make_judged_rows(trajectory.steps, lambda step, frame: None)
        fidelity = self._measure(trajectory, original)
        encoding = Usage.of(io=time.perf_counter() - started)
        trajectory = replace(trajectory, usage=trajectory.usage + encoding)
        source = trajectory.steps[0].step.before if trajectory.steps else original.digest or None
        said = None if image is None else written.name_type(trajectory.result) or None
        logged = self._describe_learning(record, trajectory, judged)
        row = make_result_row(
            record, trajectory, image, pictures, self.identities, source, marks, said, fidelity, logged
        )
        return RecordResult(row, count_trajectory(trajectory))

    def _describe_learning(
        self, record: PlannedRecord, trajectory: Trajectory, judged: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The columns that training a policy needs, those of them that this run has."""
        answers = [answer for step in trajectory.steps for answer in step.step.answers]
        state = None if self._states is None else read_state(record.metadata)
        run = self._config.input.branches
        return {
            "branch": None if state is None else {"run": run, "work_id": state.work_id, "steps": state.steps},
            "prompt_version": self._models.prompt_version,
            "answers": make_answer_rows([*answers, *trajectory.last_answers]) if self._keep.answers else None,
            "judgements": judged if self._keep.candidates else None,
        }

    def _restore(self, trajectory: Trajectory, original: Frame) -> Trajectory:
        """Bring the result to the size the user expects, where the editor works at one of its own."""
        restore = self._models.restore
        if restore is None or original.pixels is None or trajectory.result is original:
            return trajectory
        try:
            with boundary(ErrorKind.editor_failed):
                restored = restore(read_only_view(trajectory.result.pixels), read_only_view(original.pixels))
                result = check_frame(restored, self._config.limits.max_result_pixels)
        except RecordError as error:
            return replace(trajectory, failure=error.failure, stop_reason=None)
        if result.digest == trajectory.result.digest:
            return trajectory
        return replace(trajectory, result=result, restored=True)

    def _measure(self, trajectory: Trajectory, original: Frame) -> Fidelity | None:
        """What the result changed beyond what was asked. Nothing is said of a failed record."""
        if not self._config.output.fidelity or trajectory.status is Status.failed:
            return None
        return measure_fidelity(original.pixels, trajectory.result.pixels)

    def _keep_step_image(
        self, work: str, index: int, frame: Frame, written: LabelledImages
    ) -> dict[str, Any] | None:
        output, store = self._config.output, self._context.store
        match output.step_images:
            case "drop":
                return None
            case "embed":
                return {"bytes": written.encode(frame), "path": None}
            case "reference":
                key = step_image_key(work, index, frame.digest, output.format)
                store.create(key, written.encode(frame))
                return {"bytes": None, "path": store.locate(key)}


class _Loop:
    """The loop's models and step log for one record: each move is reported, and a run that ends stops it."""

    def __init__(
        self,
        context: WorkerContext,
        models: ModelClients,
        row: PlanRow,
        steps: ShardLog,
        taken: Sequence[LoggedStep],
    ) -> None:
        """`taken`: the steps of another trajectory that the record begins after."""
        self._context = context
        self._taken = taken
        self._clients = models
        self._name = row.name
        self._shard = row.shard
        self._steps = steps
        self.models = Models(self._propose, self._edit, self._score if "judge" in models else None)

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """What is logged of a record; first of all the steps that it begins after."""
        history = await self._steps.load(task)
        for logged in self._taken[len(history) :]:
            history = (*history, await self._steps.append(task, logged))
        return history

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """Log a step more."""
        self._context.activity.move(self._name, "logging", logged.step.index)
        standing = await self._steps.append(task, logged)
        self._context.activity.count_step()
        return standing

    async def _propose(self, request: PolicyRequest) -> Timed[str]:
        if self._context.stop.asked:
            raise RecordPostponed
        depth = len(request.history)
        self._context.activity.move(self._name, "policy", depth)
        return await self._clients["policy"].submit(request, rank_request(self._shard, depth))

    async def _edit(self, request: EditRequest) -> Timed[Frame]:
        self._context.activity.move(self._name, "editor", request.step)
        return await self._clients["editor"].submit(request, rank_request(self._shard, request.step))

    async def _score(self, request: JudgeRequest) -> Timed[Judgement]:
        self._context.activity.move(self._name, "judge")
        return await self._clients["judge"].submit(request, (self._shard,))


def _make_task(record: PlannedRecord) -> EditTask:
    return EditTask(record.record_id, record.work_id, record.instruction, record.metadata)


def count_trajectory(trajectory: Trajectory) -> Tally:
    """A record as counts."""
    failure, stop = trajectory.failure, trajectory.stop_reason
    return Tally(
        records=1,
        ok=int(trajectory.status is Status.ok),
        unfinished=int(trajectory.status is Status.unfinished),
        steps=len(trajectory.steps),
        resumed_steps=trajectory.resumed_steps,
        errors={failure.kind: 1} if failure else {},
        stops={stop: 1} if stop else {},
        usage=trajectory.usage,
    )


def _fail_without_image(failure: Failure, usage: Usage) -> Trajectory:
    """The trajectory of a record whose image can't be opened."""
    return Trajectory((), _NONE, None, failure, usage)
