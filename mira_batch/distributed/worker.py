"""The shard worker: one process (on Ray, one actor) that holds the models and runs shards of records.

It owns an event loop in a thread of its own. `__call__` may run in several threads at once, one per
shard in hand; each hands its shard to the loop and waits. All records in flight, of whatever shard,
share one micro-batcher per model. This module doesn't know Ray: `execute.py` puts it into an actor pool
or calls it in process.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.loop import run_record
from mira_batch.core.ports import Models
from mira_batch.core.receipts import Pulse, Receipt
from mira_batch.core.types import EditTask, ErrorKind, Failure, Frame, LoggedStep, Seconds, Status, Trajectory
from mira_batch.distributed.gate import Gate, all_or_nothing
from mira_batch.models.replicas import Replicas, load_replicas
from mira_batch.storage import images
from mira_batch.storage.manifest import read_embedded
from mira_batch.storage.objects import open_store
from mira_batch.storage.planfile import Shard, read_shard
from mira_batch.storage.results import result_row, results_file, source_of
from mira_batch.storage.rundir import result_key
from mira_batch.storage.steplog import ShardLog
from mira_batch.storage.tries import Tries


class ShardWorker:
    """Runs shards to their commit. Load it once per process: building it loads the models."""

    def __init__(
        self,
        config: BulkEditConfig,
        run: str,
        session: str,
        on_pulse: Callable[[Pulse], None] | None = None,
    ) -> None:
        """
        Args:
            config: the run's config.
            run: the run's directory.
            session: names this call of the driver, in hex digits; see `storage/tries.py`.
            on_pulse: told the live figures about once a second, from a thread of the worker's.
        """
        self.config = config
        self.session = session
        self.store = open_store(run, config.storage)
        self.pulse = Pulse()
        self._plan_file = lru_cache(maxsize=2)(self.store.get)
        self._loop = asyncio.new_event_loop()
        in_flight = config.workers.records_in_flight
        self._loop.set_default_executor(ThreadPoolExecutor(max(8, in_flight), thread_name_prefix="io"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="records", daemon=True)
        self._thread.start()
        try:
            self.models: Replicas = self._await(self._open())
        except BaseException:
            self.close()
            raise
        if on_pulse is not None:
            asyncio.run_coroutine_threadsafe(self._beat(on_pulse), self._loop)

    async def _open(self) -> Replicas:
        self.gate = Gate(self.config.workers.records_in_flight)
        return await load_replicas(self.config)

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __call__(self, shard: Shard) -> Receipt:
        """Run a shard and commit it. Blocks; may be called from several threads.

        Raises:
            StoreError: the store failed beyond retries. Nothing is lost: the steps made are logged.
            EngineDead: a model can't go on; the process should leave.
        """
        return self._await(self._run_shard(shard))

    def close(self) -> None:
        """End the models' threads and the event loop."""
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    async def _end(self) -> None:
        if models := getattr(self, "models", None):
            models.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, on_pulse: Callable[[Pulse], None]) -> None:
        while True:
            await asyncio.sleep(1)
            await asyncio.to_thread(on_pulse, replace(self.pulse, in_flight=dict(self.pulse.in_flight)))

    async def _run_shard(self, shard: Shard) -> Receipt:
        key = result_key(shard.index)
        if await asyncio.to_thread(self.store.exists, key):
            return Receipt(shard.index, committed=False)
        plan = await asyncio.to_thread(read_shard, self.store, shard, self._plan_file)
        work = _ShardWork(self, shard, plan)
        await asyncio.to_thread(work.open)
        rows = await all_or_nothing([work.record(row) for row in plan])
        data = await asyncio.to_thread(results_file, rows)
        committed = await self.store.create_async(key, data)
        await asyncio.to_thread(work.log.delete)
        self.pulse.finished -= len(rows)
        return replace(work.receipt(), written=len(data), committed=committed)


class _ShardWork:
    """One shard in hand: its log, its embedded images and its counts."""

    def __init__(self, worker: ShardWorker, shard: Shard, plan: list[dict[str, Any]]) -> None:
        self.log = ShardLog(worker.store, shard.index)
        self._tries = Tries(worker.store, shard.index, worker.session)
        self._worker = worker
        self._config = worker.config
        self._index = shard.index
        self._plan = plan
        self._embedded: asyncio.Task[dict[str, bytes]] | None = None
        self._trajectories = Counter[str]()
        self._errors = Counter[str]()
        self._stops = Counter[str]()
        self._seconds = Seconds()
        models = worker.models
        self._models = Models(
            propose=lambda r: models.policy.submit(r, (shard.index, -len(r.history))),
            edit=lambda r: models.editor.submit(r, (shard.index, -r.step)),
            score=None if (judge := models.judge) is None else lambda r: judge.submit(r, (shard.index,)),
        )

    def open(self) -> None:
        """Find what earlier attempts left: one LIST."""
        self._tries.open(self.log.open())

    def receipt(self) -> Receipt:
        n = self._trajectories
        return Receipt(
            self._index, n["records"], n["ok"], n["steps"], n["resumed"],
            dict(self._errors), dict(self._stops), self._seconds,
        )  # fmt: skip

    async def record(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Run one record to its result row."""
        pulse, name = self._worker.pulse, plan["record_id"]
        async with self._worker.gate.at((self._index,), alone=self._tries.careful):
            pulse.in_flight[name] = 0
            try:
                row = await (self._run_carefully(plan) if self._tries.careful else self._run(plan))
            finally:
                pulse.in_flight.pop(name, None)
            pulse.finished += 1
            return row

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
        trajectory = Trajectory(steps, best, None, failure, Seconds(), resumed_steps=len(steps))
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, steps[0].step.before)
        self._count(trajectory)
        return row

    async def _run(self, plan: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        task = EditTask(plan["record_id"], plan["work_id"], plan["instruction"])
        try:
            data = await self._bytes(plan)
            original = await asyncio.to_thread(self._decoded, data, source_of(plan))
        except RecordError as error:
            trajectory = _unopened(error.failure, Seconds(io=time.perf_counter() - started))
            self._count(trajectory)
            return result_row(plan, trajectory, None, [], self._worker.models.identities, None)
        fetched = time.perf_counter() - started
        trajectory = await run_record(
            task, original, self._models, _Counted(self.log, self._worker.pulse), self._config.loop_limits()
        )
        trajectory = replace(trajectory, seconds=trajectory.seconds + Seconds(io=fetched))
        row, trajectory = await asyncio.to_thread(self._row, plan, trajectory, original.digest)
        self._count(trajectory)
        return row

    async def _bytes(self, plan: dict[str, Any]) -> bytes:
        source, storage = self._config.input, self._config.storage
        if plan["image_uri"] is not None:
            return await asyncio.to_thread(images.fetch, plan["image_uri"], source, storage)
        if self._embedded is None:
            self._embedded = asyncio.create_task(asyncio.to_thread(self._read_embedded))
        data = (await self._embedded).get(plan["work_id"])
        if data is None:
            raise RecordError(ErrorKind.image_unreadable, f"{source_of(plan)}: is no longer in the manifest")
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
            column = self._config.input.columns.image
            data = read_embedded(file, group, set(rows), column, self._config.storage)
            found |= {rows[index]: image for index, image in data.items()}
        return found

    def _decoded(self, data: bytes, name: str) -> Frame:
        return frame_of(images.decode(data, name, self._config.input))

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
                key = f"steps/{work}/{logged.step.index}.{output.format}"
                self._worker.store.create(key, self._encoded(logged.frame))
                return {"bytes": None, "path": self._worker.store.location(key)}

    def _count(self, trajectory: Trajectory) -> None:
        counts, failure = self._trajectories, trajectory.failure
        counts["records"] += 1
        counts["ok"] += trajectory.status is Status.ok
        counts["steps"] += len(trajectory.steps)
        counts["resumed"] += trajectory.resumed_steps
        if failure:
            self._errors[failure.kind] += 1
        elif trajectory.stop_reason:
            self._stops[trajectory.stop_reason] += 1
        self._seconds += trajectory.seconds


def _unopened(failure: Failure, seconds: Seconds) -> Trajectory:
    """The trajectory of a record whose image can't be opened."""
    return Trajectory((), Frame(None, ""), None, failure, seconds)


class _Counted:
    """A step log that also moves the pulse."""

    def __init__(self, log: ShardLog, pulse: Pulse) -> None:
        self._log = log
        self._pulse = pulse

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        return await self._log.load(task)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        standing = await self._log.append(task, logged)
        self._pulse.steps += 1
        self._pulse.in_flight[task.record_id] = standing.step.index + 1
        return standing
