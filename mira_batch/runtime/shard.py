"""One shard in a worker's hands: its records' loops, their step logs, and the rows they end in."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import EngineDead, RecordError, boundary
from mira_batch.core.identity import content_hash, frame_of, work_id
from mira_batch.core.loop import run_record
from mira_batch.core.pixels import shared
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, Models, PolicyRequest, Timed
from mira_batch.core.receipts import Receipt, Tally
from mira_batch.core.types import EditTask, ErrorKind, Failure, Frame, LoggedStep, Status, Trajectory
from mira_batch.core.usage import Usage
from mira_batch.runtime.attempts import Tries
from mira_batch.storage import images
from mira_batch.storage.run.results import result_row, source_of
from mira_batch.storage.run.steplog import ShardLog

if TYPE_CHECKING:
    from mira_batch.runtime.worker import ShardWorker


_NONE = Frame(None, "")
"""In place of an image that can't be had."""


class _LetGo(Exception):
    """The worker was told to end: this record's next step is left to another."""


class ShardWork:
    """One shard in hand: its log, its embedded images and its counts."""

    def __init__(self, worker: ShardWorker, shard: int, plan: list[dict[str, Any]]) -> None:
        self.plan = plan
        """Its rows of the plan."""
        self.log = ShardLog(worker.store, shard)
        self._tries = Tries(worker.store, shard, worker.session)
        self._worker = worker
        self._config = worker.config
        self._index = shard
        self._embedded: asyncio.Task[dict[str, bytes]] | None = None
        self._lock = threading.Lock()
        self.tally = Tally()
        """Its records that ended."""
        judged = worker.models.judge is not None
        self._models = Models(self._propose, self._edit, self._score if judged else None)

    def open(self) -> None:
        """Find what earlier attempts left: one LIST."""
        self._tries.open(self.log.open())

    def receipt(self) -> Receipt:
        return Receipt(self._index, self.tally, restarts=int(self._tries.careful))

    async def record(self, plan: dict[str, Any]) -> dict[str, Any] | None:
        """Run one record to its result row; None when the worker was told to end before."""
        async with self._worker.gate.at((self._index,), alone=self._tries.careful):
            if self._worker.stopping:
                return None
            try:
                return await (self._run_carefully(plan) if self._tries.careful else self._run(plan))
            except _LetGo:
                return None
            finally:
                self._worker.move(plan["record_id"], None)

    def _retried(self) -> None:
        """A passing fault of the images' store is waited out. Called from threads."""
        with self._lock:
            self.tally += Tally(usage=Usage(retries=1))

    async def _propose(self, request: PolicyRequest) -> Timed[str]:
        if self._worker.stopping:
            raise _LetGo
        depth = len(request.history)
        self._worker.move(request.record_id, "policy", depth)
        return await self._worker.models.policy.submit(request, (self._index, -depth))

    async def _edit(self, request: EditRequest) -> Timed[Frame]:
        self._worker.move(request.record_id, "editor", request.step)
        return await self._worker.models.editor.submit(request, (self._index, -request.step))

    async def _score(self, request: JudgeRequest) -> Timed[Judgement]:
        judge, (_, step, _) = self._worker.models.judge, self._worker.at[request.record_id]
        assert judge is not None
        self._worker.move(request.record_id, "judge", step)
        return await judge.submit(request, (self._index,))

    async def _run_carefully(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Run a record of a shard whose worker died, alone in the process, noting the try first."""
        work = plan["work_id"]
        verdict = await asyncio.to_thread(self._tries.verdict, work)
        if verdict is not None:
            return await self._given_up(plan, verdict)
        number = await asyncio.to_thread(self._tries.begin, work)
        try:
            row = await self._run(plan)
        except EngineDead as error:
            if error.kind is not None:
                await asyncio.to_thread(self._tries.blame, work, Failure(error.kind, str(error)))
            raise
        await asyncio.to_thread(self._tries.end, work, number)
        return row

    async def _given_up(self, plan: dict[str, Any], failure: Failure) -> dict[str, Any]:
        """The row of a record that is not run again: its logged steps, and its best image so far."""
        steps = await self.log.load(EditTask(plan["record_id"], plan["work_id"], plan["instruction"]))
        if not steps:
            trajectory = _unopened(failure, Usage())
            self._count(trajectory)
            return result_row(plan, trajectory, None, [], self._worker.models.identities, None)
        best = next((s.frame for s in reversed(steps) if s.step.accepted), steps[0].frame)
        cost = Usage(cost=sum(logged.step.usage.cost for logged in steps))
        trajectory = Trajectory(steps, best, None, failure, cost, "", len(steps))
        original = _NONE
        if self._worker.models.restore is not None:
            with suppress(RecordError):  # gone or changed by now: then the image stays as the editor made it
                original = await self._original(plan)
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, original)
        self._count(trajectory)
        return row

    async def _run(self, plan: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        task = EditTask(plan["record_id"], plan["work_id"], plan["instruction"])
        self._worker.move(task.record_id, "reading", 0)
        try:
            original = await self._original(plan)
        except RecordError as error:
            trajectory = _unopened(error.failure, Usage.of(io=time.perf_counter() - started))
            self._count(trajectory)
            return result_row(plan, trajectory, None, [], self._worker.models.identities, None)
        fetched = time.perf_counter() - started
        trajectory = await run_record(task, original, self._models, self, self._config.loop_limits())
        trajectory = replace(trajectory, usage=trajectory.usage + Usage.of(io=fetched))
        self._worker.move(task.record_id, "writing", len(trajectory.steps))
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, original)
        self._count(trajectory)
        return row

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """The loop's step log: what is there of a record."""
        return await self.log.load(task)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """The loop's step log: a step more. It also moves the pulse."""
        self._worker.move(task.record_id, "logging", logged.step.index)
        standing = await self.log.append(task, logged)
        self._worker.steps += 1
        return standing

    async def _original(self, plan: dict[str, Any]) -> Frame:
        """The record's image.

        Raises:
            RecordError: it can't be had.
        """
        if plan["image_uri"] is None:
            if self._embedded is None:
                self._embedded = asyncio.create_task(asyncio.to_thread(self._read_embedded))
            decoded = partial(self._decoded_embedded, plan, await self._embedded)
        else:
            decoded = partial(self._decoded, plan)
        return await asyncio.get_running_loop().run_in_executor(self._worker.readers, decoded)

    def _decoded(self, plan: dict[str, Any]) -> Frame:
        source, uri = self._config.input, plan["image_uri"]
        data = images.fetch(uri, source, self._config.storage, self._retried)
        return frame_of(images.decode(data, uri, source))

    def _decoded_embedded(self, plan: dict[str, Any], embedded: dict[str, bytes]) -> Frame:
        data, source, pipeline = embedded.get(plan["work_id"]), self._config.input, self._worker.pipeline
        if (
            data is None
            or work_id(plan["record_id"], content_hash(data), plan["instruction"], pipeline)
            != plan["work_id"]
        ):
            problem = "the manifest has changed since this run was planned, and holds another image here"
            raise RecordError(ErrorKind.image_unreadable, f"{source_of(plan)}: {problem}")
        images.check_bytes(len(data), source_of(plan), source)
        return frame_of(images.decode(data, source_of(plan), source))

    def _read_embedded(self) -> dict[str, bytes]:
        """The embedded images of this shard, by work_id: one pass over each row group it touches."""
        places: dict[tuple[str, int], dict[int, str]] = {}
        for row in self.plan:
            if row["image_uri"] is None:
                group = places.setdefault((row["image_file"], row["image_row_group"]), {})
                group[row["image_row"]] = row["work_id"]
        found: dict[str, bytes] = {}
        for (file, group), rows in places.items():
            data = self._worker.embedded.read(file, group, set(rows))
            found |= {rows[index]: image for index, image in data.items()}
        return found

    def _row(
        self, plan: dict[str, Any], trajectory: Trajectory, original: Frame
    ) -> tuple[dict[str, Any], Trajectory]:
        """Encode what a record gave. An image that the output format can't hold fails the record."""
        started = time.perf_counter()
        trajectory = self._restored(trajectory, original)
        try:
            pictures = [self._step_image(plan["work_id"], step) for step in trajectory.steps]
            image = self._encoded(trajectory.result)
        except RecordError as error:
            trajectory = replace(trajectory, failure=error.failure, stop_reason=None)
            pictures, image = [None] * len(trajectory.steps), None
        encoding = Usage.of(io=time.perf_counter() - started)
        trajectory = replace(trajectory, usage=trajectory.usage + encoding)
        self.log.forget([step.step.after for step in trajectory.steps])
        models = self._worker.models.identities
        source = trajectory.steps[0].step.before if trajectory.steps else original.digest
        return result_row(plan, trajectory, image, pictures, models, source), trajectory

    def _restored(self, trajectory: Trajectory, original: Frame) -> Trajectory:
        """Bring the result to the size the user expects, where the editor works at one of its own."""
        restore = self._worker.models.restore
        if restore is None or original.pixels is None or trajectory.result is original:
            return trajectory
        try:
            with boundary(ErrorKind.editor_failed):
                restored = restore(shared(trajectory.result.pixels), shared(original.pixels))
                result = frame_of(shared(restored))
        except RecordError as error:
            return replace(trajectory, failure=error.failure, stop_reason=None)
        return replace(trajectory, result=result, restored=result.digest != trajectory.result.digest)

    def _encoded(self, frame: Frame) -> bytes:
        output = self._config.output
        known = self.log.png(frame.digest) if output.format == "png" else None
        return known or images.encode(frame.pixels, output)

    def _step_image(self, work: str, logged: LoggedStep) -> dict[str, Any] | None:
        output = self._config.output
        match output.step_images:
            case "drop":
                return None
            case "embed":
                return {"bytes": self._encoded(logged.frame), "path": None}
            case "reference":
                # By content: whoever is first, and however late another is, the row's image stands there.
                key = f"steps/{work}/{logged.step.index}-{logged.step.after[:8]}.{output.format}"
                self._worker.store.create(key, self._encoded(logged.frame))
                return {"bytes": None, "path": self._worker.store.locate(key)}

    def _count(self, trajectory: Trajectory) -> None:
        failure, stop = trajectory.failure, trajectory.stop_reason
        ended = Tally(
            records=1,
            ok=int(trajectory.status is Status.ok),
            steps=len(trajectory.steps),
            resumed_steps=trajectory.resumed_steps,
            errors={failure.kind: 1} if failure else {},
            stops={stop: 1} if stop else {},
            usage=trajectory.usage,
        )
        with self._lock:
            self.tally += ended


def _unopened(failure: Failure, usage: Usage) -> Trajectory:
    """The trajectory of a record whose image can't be opened."""
    return Trajectory((), _NONE, None, failure, usage)
