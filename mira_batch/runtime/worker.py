"""The shard worker: one process (on Ray, one actor) that opens the job and runs shards of records.

It owns an event loop in a thread of its own. `__call__` may run in several threads at once, one per
shard in hand; each hands its shard to the loop and waits. All records in flight, of whatever shard, share the
job's one `RecordRunner`. It knows neither the job nor Ray: `backends/` puts it into an actor pool or calls it
in process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa

from mira_batch.config.base import is_remote
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import EngineDead, JobError, StoreError, UserError, describe, job_boundary
from mira_batch.core.memory import give_back_memory
from mira_batch.core.receipts import Receipt, Tally, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.core.usage import Usage
from mira_batch.runtime.activity import ActivityReport
from mira_batch.runtime.admission import MOST, Admission, Hand, choose_records_in_flight
from mira_batch.runtime.attempts import Session
from mira_batch.runtime.job import Job, PlanRow, RecordRunner, WorkerContext
from mira_batch.runtime.ledger import FOOTER, read_receipt, to_json
from mira_batch.runtime.shard import Rows, ShardRun
from mira_batch.runtime.trace import Trace
from mira_batch.storage.run.identities import check_identities
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planfile import PlanReader, Shard
from mira_batch.storage.run.result_file import explain_misfit, results_file
from mira_batch.storage.stores import Store

T = TypeVar("T")
_log = logging.getLogger(__name__)

_HEARTBEAT, _TIDYING = 1.0, 60.0
"""Seconds between heartbeats, and between those after which free memory is given back."""
_REFUSAL = 0.5
"""Seconds before a shard is handed back by a worker that was told to end, so that a pool with many shards
left doesn't run through all of them while other workers finish their steps."""


class ShardWorker:
    """Runs shards to their commit. One per process: building it opens the job, which loads its models."""

    def __init__(
        self,
        job: Job,
        store: Store,
        session: Session,
        on_heartbeat: Callable[[WorkerStatus], bool] | None = None,
        profile: bool = False,
    ) -> None:
        """
        Args:
            job: what to do with each record.
            store: the run's directory.
            session: the call of the driver, and this process.
            on_heartbeat: told the live figures about once a second, from a thread of the worker's, as long as
                the event loop turns; answers whether to end.
            profile: collect spans and send them with the receipts.
        """
        self._started = time.perf_counter()
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._job = job
        self._session = session
        self._closed = threading.Event()
        self._in_hand = 0
        self._handed_back = 0
        self._shards: set[ShardRun] = set()
        self._let_go: set[ShardRun] = set()
        self._load = 0.0
        self._told = Usage()
        self._trace = Trace() if profile else None
        workers = job.config.workers
        readers = ThreadPoolExecutor(workers.records_in_flight or MOST, thread_name_prefix="read")
        self._context = WorkerContext(
            store=store,
            activity=ActivityReport(self._trace),
            stop=StopRequest(),
            readers=readers,
        )
        self._readers = readers
        self._plan = PlanReader(self._context.store)
        self._loop = asyncio.new_event_loop()
        self._writers = ThreadPoolExecutor(_count_writers(job.config), thread_name_prefix="write")
        self._loop.set_default_executor(self._writers)
        self._thread = threading.Thread(target=self._loop.run_forever, name="records", daemon=True)
        self._thread.start()
        self._runner: RecordRunner | None = None
        try:
            self._runner = runner = self._await(self._open())
        except BaseException:
            self.close()
            raise
        self._load = time.perf_counter() - self._started
        if self._trace is not None:
            self._trace.load(self._started, time.perf_counter())
            runner.listen(self._trace.call)
        # What is loaded by now stays. Else the collector would go through it again and again.
        gc.freeze()
        if on_heartbeat is not None:
            # Before there is any work, so that nobody ends the run because no worker seems to be at a step.
            if on_heartbeat(self._ask_status()):
                self.stop()
            # No thread of a pool's: those are waited for when the process ends, and a heartbeat that waits
            # for a Ray that is gone would keep the process, and its GPU, for ever.
            threading.Thread(target=self._beat, args=(on_heartbeat,), name="heartbeat", daemon=True).start()

    def _ask_status(self) -> WorkerStatus:
        """The figures of this moment, from the event loop: so a heartbeat says that it turns."""
        answer: Future[WorkerStatus] = Future()

        def look() -> None:
            try:
                answer.set_result(self._find_status())
            except Exception as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(look)
        while not self._closed.is_set():
            with suppress(TimeoutError):
                return answer.result(timeout=_HEARTBEAT)
        raise CancelledError("the worker is closed")

    def _find_status(self) -> WorkerStatus:
        return WorkerStatus(
            ended=sum((shard.tally for shard in self._shards), Tally()),
            steps=self._context.activity.steps,
            shards=self._in_hand,
            in_flight=self._context.activity.in_flight(),
            out_of_memory=self._runner.out_of_memory if self._runner is not None else 0,
            stopping=self._context.stop.asked,
            handed_back=self._handed_back,
        )

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
        """Begin no step more; those in hand are finished and logged, and their shards not committed. Blocks
        for a note of each shard in hand: who is impatient may end the process before its steps are."""
        self._context.stop.ask(RunEnd.interrupted, "the driver ends the run")
        for shard in list(self._shards):
            if shard not in self._let_go:
                self._let_go.add(shard)
                shard.let_go()

    def close(self) -> None:
        """End the models' threads and the event loop. What is being written is written to its end."""
        self._closed.set()
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._writers.shutdown()
        self._readers.shutdown(wait=False)
        gc.unfreeze()

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> RecordRunner:
        with job_boundary(f"job {self._job.config.job}: can't be opened"):
            runner = await self._job.open(self._context)
            identities, together = runner.identities, runner.requests_together
        try:
            await asyncio.to_thread(check_identities, self._context.store, identities)
        except UserError:
            await runner.close()
            raise
        configured = self._job.config.workers.records_in_flight
        in_flight = choose_records_in_flight(configured, together)
        self.records_in_flight = in_flight
        self._admission = Admission(in_flight)
        self._hand = Hand(2 * in_flight)  # so that a shard's last records don't idle the models
        return runner

    async def _end(self) -> None:
        if self._runner is not None:
            try:
                await self._runner.close()
            except Exception:  # what is done is done; a job that can't let go of its models loses nothing
                _log.exception("job %s: can't be closed", self._job.config.job)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _beat(self, on_heartbeat: Callable[[WorkerStatus], bool]) -> None:
        tidied = time.monotonic()
        while not self._closed.wait(_HEARTBEAT / 10 if self._context.stop.asked else _HEARTBEAT):
            try:
                if on_heartbeat(self._ask_status()):
                    self.stop()
                if time.monotonic() - tidied >= _TIDYING:
                    give_back_memory()
                    tidied = time.monotonic()
            except Exception:  # the thread's boundary: a worker whose heartbeat ends is taken for hung
                if not self._closed.is_set():
                    _log.exception("a heartbeat failed")

    async def _run_shard(self, shard: Shard) -> Receipt | None:
        async with self._hand.enter(shard.index, shard.records) as end_record:
            if not self._context.stop.asked:
                self._in_hand += 1
                try:
                    return await self._run_opened(shard, end_record)
                finally:
                    self._in_hand -= 1
        await asyncio.sleep(_REFUSAL)
        self._handed_back += 1
        return None

    async def _run_opened(self, shard: Shard, end_record: Callable[[], None]) -> Receipt | None:
        work: ShardRun | None = None
        try:
            work = await asyncio.to_thread(self._open_shard, shard, end_record)
            if work is None:
                return await asyncio.to_thread(self._read_receipt, shard.index)
            return await self._commit(shard.index, work)
        except EngineDead:  # a death like any other
            raise
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, StoreError):
                # A step that can't be logged is lost, so no further one is begun, of whatever shard, and that
                # before this one waits for the store once more. Else the next shards would make one of each
                # record before the driver hears of it.
                self._context.stop.ask(RunEnd.interrupted, str(error))
            if work is not None:
                await asyncio.to_thread(work.leave)
            raise

    def _open_shard(self, shard: Shard, end_record: Callable[[], None]) -> ShardRun | None:
        """The shard's records, and what earlier attempts left of them; None when it is committed."""
        assert self._runner is not None
        store = self._context.store
        if store.exists(result_key(shard.index)):
            return None
        plan = self._plan.read(shard)
        rows = [PlanRow(row["record_id"], row["work_id"], shard.index, row) for row in plan]
        work = ShardRun(
            shard.index,
            rows,
            self._job,
            self._runner,
            self._context,
            self._admission,
            self._session,
            end_record,
        )
        work.open()
        return work

    async def _commit(self, shard: int, work: ShardRun) -> Receipt | None:
        self._shards.add(work)
        try:
            rows = await work.run()
            if rows is None:
                await asyncio.to_thread(work.leave)
                self._handed_back += 1
                return None
            receipt = self._add_breakdown(work.receipt)
            with self._context.activity.commit(shard):
                put = await asyncio.to_thread(self._put, work, rows, receipt)
            if not put.committed:  # what it took goes into the next one
                self._told -= receipt.breakdown
            return put if self._trace is None else replace(put, spans=self._trace.drain())
        finally:
            self._shards.discard(work)

    def _put(self, work: ShardRun, rows: Rows, receipt: Receipt) -> Receipt:
        try:
            data = results_file(rows, self._job.result_schema, {FOOTER: to_json(receipt)})
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            misfit = explain_misfit(rows, self._job.result_schema) or describe(error)
            raise JobError(f"job {self._job.config.job}: {misfit}") from error
        committed = self._context.store.create(result_key(receipt.shard), data)
        work.delete_state()
        return replace(receipt, written=len(data)) if committed else self._read_receipt(receipt.shard)

    def _add_breakdown(self, receipt: Receipt) -> Receipt:
        """A worker's time belongs to no shard; it goes into whichever is committed next."""
        now, before = self._measure(), self._told
        self._told = now
        return replace(receipt, worker=self.name, breakdown=now - before)

    def _measure(self) -> Usage:
        """Where the time went since the worker started."""
        assert self._runner is not None
        alive = time.perf_counter() - self._started
        gpu = alive * self._job.config.workers.gpus
        own = Usage.of(worker=alive, gpu=gpu, load=self._load, io=self._context.activity.io_seconds)
        return self._runner.usage + own

    def _read_receipt(self, shard: int) -> Receipt:
        """The receipt of a shard that another worker has committed."""
        return replace(read_receipt(self._context.store, shard), committed=False)


def _count_writers(config: JobConfig) -> int:
    """How many steps and rows at once are encoded and written. A far store takes its time; at a local disk
    more threads than CPUs only contend for the interpreter's lock."""
    in_flight = config.workers.records_in_flight or MOST
    near = not is_remote(config.output.uri)
    return min(in_flight, max(2, os.cpu_count() or 1)) if near else max(8, in_flight)
