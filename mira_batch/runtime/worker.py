"""The shard worker: one process (on Ray, one actor) that holds the models and runs shards of records.

It owns an event loop in a thread of its own. `__call__` may run in several threads at once, one per
shard in hand; each hands its shard to the loop and waits. All records in flight, of whatever shard,
share one micro-batcher per model. This module doesn't know Ray: `execute.py` puts it into an actor pool
or calls it in process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mira_batch.config.base import is_remote
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import UserError
from mira_batch.core.identity import fingerprint
from mira_batch.core.receipts import Activity, Receipt, Tally, WorkerStatus
from mira_batch.core.usage import Usage
from mira_batch.models.serving.replicas import Replicas, load_replicas
from mira_batch.runtime.admission import Gate, all_or_nothing
from mira_batch.runtime.ledger import FOOTER, read_receipt, to_json
from mira_batch.runtime.shard import ShardWork
from mira_batch.runtime.trace import Trace
from mira_batch.storage.manifest import EmbeddedReader
from mira_batch.storage.run.layout import check_identities, result_key
from mira_batch.storage.run.planfile import Shard, read_shard
from mira_batch.storage.run.results import results_file
from mira_batch.storage.stores import open_store
from mira_batch.storage.weights import fetch_weights

_IO = frozenset({"reading", "logging", "writing"})
_HEARTBEAT = 1.0
"""Seconds between heartbeats."""
_REFUSAL = 0.5
"""Seconds before a shard is handed back by a worker that was told to end, so that a pool with many shards
left doesn't run through all of them while other workers finish their steps."""


class ShardWorker:
    """Runs shards to their commit. Load it once per process: building it loads the models."""

    def __init__(
        self,
        config: BulkEditConfig,
        run: str,
        session: str,
        on_heartbeat: Callable[[WorkerStatus], bool] | None = None,
        profile: bool = False,
    ) -> None:
        """
        Args:
            config: the run's config.
            run: the run's directory.
            session: names this call of the driver, in hex digits; see `runtime/attempts.py`.
            on_heartbeat: told the live figures about once a second, from a thread of the worker's; answers
                whether to end.
            profile: collect spans and send them with the receipts.
        """
        self._started = time.perf_counter()
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.config = config
        self.session = session
        self.store = open_store(run, config.storage)
        self.embedded = EmbeddedReader(config.input.columns.image, config.storage)
        """Shared by the shards in hand, so that each row group is read once."""
        self.pipeline = fingerprint(config.pixels())
        self.steps = 0
        self.stopping = False
        self._shards = 0
        self._works: set[ShardWork] = set()
        self.at: dict[str, tuple[str, int, float]] = {}
        """What each record in flight is doing, at which step, since when."""
        self._trace = Trace() if profile else None
        self._io = 0.0
        self._load = 0.0
        self._told = Usage()
        self._plan_file = lru_cache(maxsize=2)(self.store.get)
        self._loop = asyncio.new_event_loop()
        self.readers = ThreadPoolExecutor(config.workers.records_in_flight, thread_name_prefix="read")
        """For images, which may come from far away."""
        self._writers = ThreadPoolExecutor(_threads(config), thread_name_prefix="write")
        self._loop.set_default_executor(self._writers)
        self._thread = threading.Thread(target=self._loop.run_forever, name="records", daemon=True)
        self._thread.start()
        try:
            self.models: Replicas = self._await(self._open())
        except BaseException:
            self.close()
            raise
        self._load = time.perf_counter() - self._started
        if self._trace is not None:
            self._trace.load(self._started, time.perf_counter())
            self.models.listen(self._trace.call)
        # What is loaded by now stays. Else the collector would go through it again and again.
        gc.freeze()
        if on_heartbeat is not None:
            # Before there is any work, so that nobody ends the run because no worker seems to be at a step.
            self.stopping = bool(on_heartbeat(self._live()))
            asyncio.run_coroutine_threadsafe(self._beat(on_heartbeat), self._loop)

    async def _open(self) -> Replicas:
        self.gate = Gate(self.config.workers.records_in_flight)
        models = await load_replicas(self.config, lambda place: fetch_weights(place, self.config.storage))
        try:
            await asyncio.to_thread(check_identities, self.store, models.identities)
        except UserError:
            await models.close()
            raise
        return models

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __call__(self, shard: Shard) -> Receipt | None:
        """Run a shard and commit it. Blocks; may be called from several threads.

        Returns None when the worker was told to end before the shard's last record did. Its steps are
        logged then, and nothing is committed.

        Raises:
            StoreError: the store failed beyond retries. Nothing is lost: the steps made are logged.
            EngineDead: a model can't go on; the process should leave.
        """
        return self._await(self._run_shard(shard))

    def stop(self) -> None:
        """Begin no step more; those in hand are finished and logged, and their shards not committed."""
        self.stopping = True

    def close(self) -> None:
        """End the models' threads and the event loop. What is being written is written to its end."""
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._writers.shutdown()
        self.readers.shutdown(wait=False)
        self.embedded.close()
        gc.unfreeze()

    async def _end(self) -> None:
        if models := getattr(self, "models", None):
            await models.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, on_heartbeat: Callable[[WorkerStatus], bool]) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT / 10 if self.stopping else _HEARTBEAT)
            if await asyncio.to_thread(on_heartbeat, self._live()):
                self.stop()

    def move(self, record: str, doing: str | None, step: int = 0) -> None:
        """What a record does from now on: reading, policy, editor, judge, logging, writing; None, it left."""
        now, before = time.perf_counter(), self.at.get(record)
        if before is not None and before[0] in _IO:
            self._io += now - before[2]
        if self._trace is not None:
            if before is not None:
                was, at, since = before
                self._trace.record(record, at, was, since, now)
            else:
                self._trace.enter(record)
            if doing is None:
                self._trace.leave(record)
        if doing is None:
            self.at.pop(record, None)
        else:
            self.at[record] = (doing, step, now)

    def _live(self) -> WorkerStatus:
        """The figures of this moment."""
        now = time.perf_counter()
        in_flight = {
            name: Activity(step, doing, now - since) for name, (doing, step, since) in self.at.items()
        }
        return WorkerStatus(
            ended=sum((work.tally for work in list(self._works)), Tally()),
            steps=self.steps,
            shards=self._shards,
            in_flight=in_flight,
            out_of_memory=self.models.out_of_memory,
            stopping=self.stopping,
        )

    async def _run_shard(self, shard: Shard) -> Receipt | None:
        if self.stopping:
            await asyncio.sleep(_REFUSAL)
            return None
        self._shards += 1
        try:
            work = await asyncio.to_thread(self._opened, shard)
            if work is None:
                return await asyncio.to_thread(self._of_another, shard.index)
            return await self._commit(work)
        finally:
            self._shards -= 1

    def _opened(self, shard: Shard) -> ShardWork | None:
        """The shard's records, and what earlier attempts left of them; None when it is committed."""
        if self.store.exists(result_key(shard.index)):
            return None
        work = ShardWork(self, shard.index, read_shard(self.store, shard, self._plan_file))
        work.open()
        return work

    async def _commit(self, work: ShardWork) -> Receipt | None:
        self._works.add(work)
        try:
            rows = await all_or_nothing([work.record(row) for row in work.plan])
            if None in rows:
                return None
            receipt = self._with_ours(work.receipt())
            with self._timed_commit(receipt.shard):
                put = await asyncio.to_thread(self._put, work, rows, receipt)
            if not put.committed:  # what it took goes into the next one
                self._told -= receipt.breakdown
            return put if self._trace is None else replace(put, spans=self._trace.drain())
        finally:
            self._works.discard(work)

    @contextmanager
    def _timed_commit(self, shard: int) -> Iterator[None]:
        begin = time.perf_counter()
        if self._trace is not None:
            self._trace.enter(shard)
        yield
        end = time.perf_counter()
        self._io += end - begin
        if self._trace is not None:
            self._trace.commit(shard, begin, end)
            self._trace.leave(shard)

    def _put(self, work: ShardWork, rows: list[dict[str, Any]], receipt: Receipt) -> Receipt:
        data = results_file(rows, {FOOTER: to_json(receipt)})
        committed = self.store.create(result_key(receipt.shard), data)
        work.log.delete()
        return replace(receipt, written=len(data)) if committed else self._of_another(receipt.shard)

    def _with_ours(self, receipt: Receipt) -> Receipt:
        """Time, and faults of endpoints, belong to no shard; they go into whichever is committed next."""
        spent = self._spent()
        before, self._told = self._told, spent
        return replace(receipt, worker=self.name, breakdown=spent - before)

    def _spent(self) -> Usage:
        """Where the time went since the worker started."""
        alive = time.perf_counter() - self._started
        gpu = alive * self.config.workers.gpus
        return self.models.usage + Usage.of(worker=alive, gpu=gpu, load=self._load, io=self._io)

    def _of_another(self, shard: int) -> Receipt:
        """The receipt of a shard that another worker has committed."""
        return replace(read_receipt(self.store, shard), committed=False)


def _threads(config: BulkEditConfig) -> int:
    """How many steps and rows at once are encoded and written. A far store takes its time; at a local disk
    more threads than CPUs only contend for the interpreter's lock."""
    in_flight = config.workers.records_in_flight
    near = not is_remote(config.output.uri)
    return min(in_flight, max(4, os.cpu_count() or 1)) if near else max(8, in_flight)
