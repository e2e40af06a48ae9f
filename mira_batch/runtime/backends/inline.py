"""The inline backend: one worker in this process, without Ray. For debugging, small jobs and notebooks.

A record that ends or hangs the process takes the driver along, so isolation spans calls: the next one finds
by the attempt log which shards were in hand, and runs their records one at a time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import pyarrow as pa

from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import EngineDead
from mira_batch.core.receipts import Progress, Receipt, WorkerStatus
from mira_batch.runtime.attempts import INLINE, Session, find_open_shards
from mira_batch.runtime.pool import Assignment, Pool, count_shards_in_hand
from mira_batch.runtime.scan import ReadPart, W
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage.stores import open_store

_NEXT = (
    "This process can't go on, and inline there is no other. Nothing is lost: run the same command again, "
    "and the records that were in hand run one at a time, until the one to blame is found and fails alone."
)
_RAY = "backend: ray does that by itself, in processes of its own."


class InlineBackend:
    """Everything in this process."""

    @contextmanager
    def start(self, workers: WorkersConfig) -> Iterator[None]:
        """Nothing has to be started."""
        yield

    def read(
        self,
        job: W,
        parts: Sequence[Any],
        read_part: ReadPart[W],
        fields: pa.Schema,
        look: Callable[[], None],
    ) -> Iterator[pa.Table]:
        """One part after the other.

        Args:
            job, parts, read_part, fields, look: as of `Backend.read`.
        """
        for part in parts:
            for table in read_part(job, part):
                look()
                yield table

    def make_metrics(self, run: str) -> Progress:
        """Nobody."""
        return Progress()

    @contextmanager
    def open_pool(self, work: Assignment) -> Iterator[Pool]:
        """One worker, with a thread for each shard in hand."""
        with _refuse_exits(), self._open_pool(work) as pool:
            yield pool

    @contextmanager
    def _open_pool(self, work: Assignment) -> Iterator[Pool]:
        pool = Pool()

        def heartbeat(status: WorkerStatus) -> bool:
            pool.statuses, pool.told = [status], pool.stopping
            return pool.told

        config, shards = work.job.config, work.shards
        store = open_store(work.run, config.storage)
        if suspects := find_open_shards(store, INLINE):
            work.note(
                f"an earlier call ended without a word with {len(suspects)} shards in hand: their records "
                "run one at a time, to find one that ends the process. If this call ends so, too, run the "
                "same command again: a record that does so twice at the same step fails alone, and the run "
                f"goes on. {_RAY}"
            )
        worker = ShardWorker(work.job, store, Session(INLINE), heartbeat, work.profile)
        pool.tell = worker.stop
        threads = ThreadPoolExecutor(count_shards_in_hand(config.workers, shards), thread_name_prefix="shard")
        returned = itertools.count(1)  # its next is atomic: calls return in threads of their own

        def answer(call: Future[Receipt | None]) -> None:
            if call.cancelled():
                return
            error = call.exception()
            if isinstance(error, EngineDead):
                pool.answers.put(
                    EngineDead(f"{error}. {_NEXT} {_RAY}", error.kind, suspicion=error.suspicion)
                )
            elif error is not None:
                pool.answers.put(error)
            elif receipt := call.result():
                pool.answers.put(receipt)
            if next(returned) == len(shards):
                pool.answers.put(None)

        try:
            for shard in shards:
                threads.submit(worker, shard).add_done_callback(answer)
            yield pool
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            worker.close()


@contextmanager
def _refuse_exits() -> Iterator[None]:
    """Inside, `os._exit` raises where a model calls it, as `sys.exit` does: its code, 0 perhaps, would be
    that of the run. Processes that are forked meanwhile end by it."""
    exit_at_once, own = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != own:
            exit_at_once(status)
        raise SystemExit(f"os._exit({status}) was called")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = exit_at_once
