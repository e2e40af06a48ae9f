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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import UserError
from mira_batch.core.identity import fingerprint
from mira_batch.core.receipts import Activity, Pulse, Receipt
from mira_batch.distributed.gate import Gate, all_or_nothing
from mira_batch.distributed.shard import ShardWork
from mira_batch.models.replicas import Replicas, load_replicas
from mira_batch.storage.embedded import EmbeddedReader
from mira_batch.storage.ledger import FOOTER, read_receipt
from mira_batch.storage.objects import open_store
from mira_batch.storage.planfile import Shard, read_shard
from mira_batch.storage.results import results_file
from mira_batch.storage.rundir import check_identities, result_key
from mira_batch.storage.weights import fetch_weights

_PULSE = 1.0
"""Seconds between pulses."""
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
        on_pulse: Callable[[Pulse], bool] | None = None,
    ) -> None:
        """
        Args:
            config: the run's config.
            run: the run's directory.
            session: names this call of the driver, in hex digits; see `storage/tries.py`.
            on_pulse: told the live figures about once a second, from a thread of the worker's; answers
                whether to end.
        """
        self.config = config
        self.session = session
        self.store = open_store(run, config.storage)
        self.embedded = EmbeddedReader(config.input.columns.image, config.storage)
        """Shared by the shards in hand, so that each row group is read once."""
        self.pipeline = fingerprint(config.pixels())
        self.pulse = Pulse()
        self.at: dict[str, tuple[int, str, float]] = {}
        """What each record in flight is doing: its step, in which part of it, since when."""
        self._retries_told = 0
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
            # Before there is any work, so that nobody ends the run because no worker seems to be at a step.
            self.pulse.stopping = bool(on_pulse(self._live()))
            asyncio.run_coroutine_threadsafe(self._beat(on_pulse), self._loop)

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
        self.pulse.stopping = True

    def close(self) -> None:
        """End the models' threads and the event loop."""
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self.embedded.close()

    async def _end(self) -> None:
        if models := getattr(self, "models", None):
            await models.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, on_pulse: Callable[[Pulse], bool]) -> None:
        while True:
            await asyncio.sleep(_PULSE / 10 if self.pulse.stopping else _PULSE)
            if await asyncio.to_thread(on_pulse, self._live()):
                self.stop()

    def _live(self) -> Pulse:
        """The figures of this moment."""
        now = time.monotonic()
        in_flight = {
            name: Activity(step, doing, now - since) for name, (step, doing, since) in self.at.items()
        }
        return replace(
            self.pulse,
            in_flight=in_flight,
            errors=dict(self.pulse.errors),
            out_of_memory=self.models.out_of_memory,
        )

    async def _run_shard(self, shard: Shard) -> Receipt | None:
        if self.pulse.stopping:
            await asyncio.sleep(_REFUSAL)
            return None
        key = result_key(shard.index)
        if await asyncio.to_thread(self.store.exists, key):
            return await self._of_another(shard)
        self.pulse.shards += 1
        try:
            return await self._commit(shard, key)
        finally:
            self.pulse.shards -= 1

    async def _commit(self, shard: Shard, key: str) -> Receipt | None:
        plan = await asyncio.to_thread(read_shard, self.store, shard, self._plan_file)
        work = ShardWork(self, shard, plan)
        await asyncio.to_thread(work.open)
        try:
            rows = await all_or_nothing([work.record(row) for row in plan])
            if None in rows:
                return None
            receipt = self._with_retries(work.receipt())
            data = await asyncio.to_thread(results_file, rows, {FOOTER: receipt.to_json()})
            committed = await self.store.create_async(key, data)
            await asyncio.to_thread(work.log.delete)
        finally:
            work.leave()
        return replace(receipt, written=len(data)) if committed else await self._of_another(shard)

    def _with_retries(self, receipt: Receipt) -> Receipt:
        """Faults of endpoints belong to no shard; they go into whichever is committed next."""
        told, self._retries_told = self._retries_told, self.models.retries
        return replace(receipt, retries=receipt.retries + self._retries_told - told)

    async def _of_another(self, shard: Shard) -> Receipt:
        """The receipt of a shard that another worker has committed."""
        receipt = await asyncio.to_thread(read_receipt, self.store, shard.index)
        return replace(receipt, committed=False)
