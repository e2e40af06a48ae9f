"""One shard in a worker's hands: its records' loops, their step logs, and the rows they end in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import EngineDead, RecordError, boundary
from mira_batch.core.identity import content_hash, frame_of, work_id
from mira_batch.core.loop import run_record
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, Models, PolicyRequest, Timed
from mira_batch.core.receipts import Receipt
from mira_batch.core.types import EditTask, ErrorKind, Failure, Frame, LoggedStep, Seconds, Status, Trajectory
from mira_batch.storage import images
from mira_batch.storage.planfile import Shard
from mira_batch.storage.results import result_row, source_of
from mira_batch.storage.steplog import ShardLog
from mira_batch.storage.tries import Tries

if TYPE_CHECKING:
    from mira_batch.distributed.worker import ShardWorker


class _LetGo(Exception):
    """The worker was told to end: this record's next step is left to another."""


class ShardWork:
    """One shard in hand: its log, its embedded images and its counts."""

    def __init__(self, worker: ShardWorker, shard: Shard, plan: list[dict[str, Any]]) -> None:
        self.log = ShardLog(worker.store, shard.index)
        self._tries = Tries(worker.store, shard.index, worker.session)
        self._worker = worker
        self._config = worker.config
        self._index = shard.index
        self._plan = plan
        self._embedded: asyncio.Task[dict[str, bytes]] | None = None
        self._lock = threading.Lock()
        self._trajectories = Counter[str]()
        self._errors = Counter[str]()
        self._stops = Counter[str]()
        self._seconds = Seconds()
        self._cost = 0.0
        judged = worker.models.judge is not None
        self._models = Models(self._propose, self._edit, self._score if judged else None)

    def open(self) -> None:
        """Find what earlier attempts left: one LIST."""
        self._tries.open(self.log.open())

    def receipt(self) -> Receipt:
        n = self._trajectories
        return Receipt(
            shard=self._index,
            records=n["records"],
            ok=n["ok"],
            steps=n["steps"],
            resumed_steps=n["resumed"],
            errors=dict(self._errors),
            stops=dict(self._stops),
            seconds=self._seconds,
            cost=self._cost,
            restarts=int(self._tries.careful),
            retries=n["retries"],
        )

    def leave(self) -> None:
        """Take this shard's records out of the worker's live figures."""
        pulse = self._worker.pulse
        pulse.finished -= self._trajectories["records"]
        pulse.errors = dict(Counter(pulse.errors) - self._errors)

    async def record(self, plan: dict[str, Any]) -> dict[str, Any] | None:
        """Run one record to its result row; None when the worker was told to end before."""
        async with self._worker.gate.at((self._index,), alone=self._tries.careful):
            if self._worker.pulse.stopping:
                return None
            try:
                return await (self._run_carefully(plan) if self._tries.careful else self._run(plan))
            except _LetGo:
                return None
            finally:
                self._worker.at.pop(plan["record_id"], None)

    def _retried(self) -> None:
        """A passing fault of the images' store is waited out. Called from threads."""
        with self._lock:
            self._trajectories["retries"] += 1

    def _at(self, record: str, step: int, doing: str) -> None:
        self._worker.at[record] = (step, doing, time.monotonic())

    async def _propose(self, request: PolicyRequest) -> Timed[str]:
        if self._worker.pulse.stopping:
            raise _LetGo
        depth = len(request.history)
        self._at(request.record_id, depth, "policy")
        return await self._worker.models.policy.submit(request, (self._index, -depth))

    async def _edit(self, request: EditRequest) -> Timed[Frame]:
        self._at(request.record_id, request.step, "editor")
        return await self._worker.models.editor.submit(request, (self._index, -request.step))

    async def _score(self, request: JudgeRequest) -> Timed[Judgement]:
        judge, (step, _, _) = self._worker.models.judge, self._worker.at[request.record_id]
        assert judge is not None
        self._at(request.record_id, step, "judge")
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
            trajectory = _unopened(failure, Seconds())
            self._count(trajectory)
            return result_row(plan, trajectory, None, [], self._worker.models.identities, None)
        best = next((s.frame for s in reversed(steps) if s.step.accepted), steps[0].frame)
        cost = sum(logged.step.cost for logged in steps)
        trajectory = Trajectory(steps, best, None, failure, Seconds(), "", len(steps), cost)
        if self._worker.models.restore is not None:
            with suppress(RecordError):  # gone or changed by now: then the image stays as the editor made it
                trajectory = await asyncio.to_thread(self._finished, trajectory, await self._original(plan))
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, steps[0].step.before)
        self._count(trajectory)
        return row

    async def _run(self, plan: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        task = EditTask(plan["record_id"], plan["work_id"], plan["instruction"])
        self._at(task.record_id, 0, "reading")
        try:
            original = await self._original(plan)
        except RecordError as error:
            trajectory = _unopened(error.failure, Seconds(io=time.perf_counter() - started))
            self._count(trajectory)
            return result_row(plan, trajectory, None, [], self._worker.models.identities, None)
        fetched = time.perf_counter() - started
        trajectory = await run_record(task, original, self._models, self, self._config.loop_limits())
        trajectory = replace(trajectory, seconds=trajectory.seconds + Seconds(io=fetched))
        trajectory = await asyncio.to_thread(self._finished, trajectory, original)
        self._at(task.record_id, len(trajectory.steps), "writing")
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, original.digest)
        self._count(trajectory)
        return row

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """The loop's step log: what is there of a record."""
        return await self.log.load(task)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """The loop's step log: a step more. It also moves the pulse."""
        self._at(task.record_id, logged.step.index, "logging")
        standing = await self.log.append(task, logged)
        self._worker.pulse.steps += 1
        return standing

    async def _original(self, plan: dict[str, Any]) -> Frame:
        """The record's image.

        Raises:
            RecordError: it can't be had.
        """
        data = await self._bytes(plan)
        return await asyncio.to_thread(
            lambda: frame_of(images.decode(data, source_of(plan), self._config.input))
        )

    async def _bytes(self, plan: dict[str, Any]) -> bytes:
        source, storage = self._config.input, self._config.storage
        if plan["image_uri"] is not None:
            return await asyncio.to_thread(images.fetch, plan["image_uri"], source, storage, self._retried)
        if self._embedded is None:
            self._embedded = asyncio.create_task(asyncio.to_thread(self._read_embedded))
        data = (await self._embedded).get(plan["work_id"])
        if (
            data is None
            or work_id(plan["record_id"], content_hash(data), plan["instruction"], self._worker.pipeline)
            != plan["work_id"]
        ):
            problem = "the manifest has changed since this run was planned, and holds another image here"
            raise RecordError(ErrorKind.image_unreadable, f"{source_of(plan)}: {problem}")
        images.check_bytes(len(data), source_of(plan), source)
        return data

    def _read_embedded(self) -> dict[str, bytes]:
        """The embedded images of this shard, by work_id: one pass over each row group it touches."""
        places: dict[tuple[str, int], dict[int, str]] = {}
        for row in self._plan:
            if row["image_uri"] is None:
                group = places.setdefault((row["image_file"], row["image_row_group"]), {})
                group[row["image_row"]] = row["work_id"]
        found: dict[str, bytes] = {}
        for (file, group), rows in places.items():
            data = self._worker.embedded.read(file, group, set(rows))
            found |= {rows[index]: image for index, image in data.items()}
        return found

    def _finished(self, trajectory: Trajectory, original: Frame) -> Trajectory:
        """Bring the result to the size the user expects, where the editor works at one of its own.

        Failed, if a model drew on an image it was given: what is logged of it would be false.
        """
        frames = {id(f): f for f in (original, *(s.frame for s in trajectory.steps), trajectory.result)}
        if any(frame_of(frame.pixels).digest != frame.digest for frame in frames.values()):
            words = "a model changed an image that it was given; it must return a new one"
            return replace(trajectory, failure=Failure(ErrorKind.editor_failed, words), stop_reason=None)
        restore = self._worker.models.restore
        if restore is None or trajectory.result is original:
            return trajectory
        try:
            with boundary(ErrorKind.editor_failed):
                result = frame_of(restore(trajectory.result.pixels, original.pixels))
        except RecordError as error:
            return replace(trajectory, failure=error.failure, stop_reason=None)
        return replace(trajectory, result=result, restored=result.digest != trajectory.result.digest)

    def _row(
        self, plan: dict[str, Any], trajectory: Trajectory, source_digest: str
    ) -> tuple[dict[str, Any], Trajectory]:
        """Encode what a record gave. An image that the output format can't hold fails the record."""
        started = time.perf_counter()
        try:
            pictures = [self._step_image(plan["work_id"], step) for step in trajectory.steps]
            image = self._encoded(trajectory.result)
        except RecordError as error:
            trajectory = replace(trajectory, failure=error.failure, stop_reason=None)
            pictures, image = [None] * len(trajectory.steps), None
        encoding = Seconds(io=time.perf_counter() - started)
        trajectory = replace(trajectory, seconds=trajectory.seconds + encoding)
        self.log.forget([step.step.after for step in trajectory.steps])
        models = self._worker.models.identities
        return result_row(plan, trajectory, image, pictures, models, source_digest), trajectory

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
                return {"bytes": None, "path": self._worker.store.location(key)}

    def _count(self, trajectory: Trajectory) -> None:
        counts, failure, pulse = self._trajectories, trajectory.failure, self._worker.pulse
        counts["records"] += 1
        pulse.finished += 1
        counts["ok"] += trajectory.status is Status.ok
        counts["steps"] += len(trajectory.steps)
        counts["resumed"] += trajectory.resumed_steps
        if failure:
            self._errors[failure.kind] += 1
            pulse.errors[failure.kind] = pulse.errors.get(failure.kind, 0) + 1
        elif trajectory.stop_reason:
            self._stops[trajectory.stop_reason] += 1
        self._seconds += trajectory.seconds
        self._cost += trajectory.cost


def _unopened(failure: Failure, seconds: Seconds) -> Trajectory:
    """The trajectory of a record whose image can't be opened."""
    return Trajectory((), Frame(None, ""), None, failure, seconds)
