"""The inline backend: one worker in this process, without Ray. For debugging, small jobs and notebooks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import WorkersConfig
from mira_batch.core.receipts import Receipt, WorkerStatus
from mira_batch.runtime.attempts import Session
from mira_batch.runtime.job import Job
from mira_batch.runtime.plan import scan_split
from mira_batch.runtime.pool import Pool, count_shards_in_hand
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores import open_store


class InlineBackend:
    """Everything in this process."""

    @contextmanager
    def start(self, workers: WorkersConfig) -> Iterator[None]:
        """Nothing has to be started."""
        yield

    def scan(self, job: Job, splits: Sequence[Any], look: Callable[[], None]) -> Iterator[pa.Table]:
        """One split after the other.

        Args:
            job: the job.
            splits: of what it reads.
            look: called now and then; what it raises ends the scan.
        """
        for split in splits:
            for table in scan_split(job, split):
                look()
                yield table

    @contextmanager
    def open_pool(
        self, job: Job, run: str, session: str, shards: Sequence[Shard], profile: bool = False
    ) -> Iterator[Pool]:
        """One worker, with a thread for each shard in hand.

        Args:
            job: what to do with each record.
            run: the run's directory.
            session: names this call of the driver, in hex digits; see `attempts.py`.
            shards: those to run.
            profile: have workers send spans with their receipts.
        """
        pool = Pool()

        def heartbeat(status: WorkerStatus) -> bool:
            pool.statuses, pool.told = [status], pool.stopping
            return pool.told

        worker = ShardWorker(job, open_store(run, job.config.storage), Session(session), heartbeat, profile)
        pool.tell = worker.stop
        threads = ThreadPoolExecutor(
            count_shards_in_hand(job.config.workers, shards), thread_name_prefix="shard"
        )
        returned = itertools.count(1)  # its next is atomic: calls return in threads of their own

        def answer(call: Future[Receipt | None]) -> None:
            if call.cancelled():
                return
            if error := call.exception():
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
