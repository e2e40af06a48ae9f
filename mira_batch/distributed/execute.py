"""Hands shard names to the workers and takes back receipts: a Ray Data actor pool, or in process."""

from __future__ import annotations

import json
import math
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from mira_batch.config.bulk_edit import BulkEditConfig, WorkersConfig
from mira_batch.core import errors
from mira_batch.core.errors import EngineDead, UserError
from mira_batch.core.receipts import Pulse, Receipt
from mira_batch.distributed.worker import ShardWorker
from mira_batch.storage.planfile import Shard

Watcher = Callable[[list[Pulse]], None]
"""Told about once a second what every live worker reports."""


def execute(config: BulkEditConfig, run: str, shards: Sequence[Shard], watch: Watcher) -> Iterator[Receipt]:
    """Run shards on the configured backend; yields a receipt as each is committed, in no set order."""
    if not shards:
        return iter(())
    backend = _on_ray if config.backend == "ray" else _inline
    return backend(config, run, shards, watch)


def shards_in_hand(workers: WorkersConfig, shards: Sequence[Shard]) -> int:
    """How many shards a worker holds at once.

    Enough whole shards for twice the records in flight, so that a shard's last records don't idle the
    models, and at least four, so that the single-record shards at the end still fill a batch. More would
    let the first workers hoard shards that the others then lack.
    """
    largest = max(shard.records for shard in shards)
    return max(4, math.ceil(2 * workers.records_in_flight / largest))


def _session() -> str:
    """A name for this call of the driver."""
    return secrets.token_hex(4)


def _inline(config: BulkEditConfig, run: str, shards: Sequence[Shard], watch: Watcher) -> Iterator[Receipt]:
    worker = ShardWorker(config, run, _session(), on_pulse=lambda pulse: watch([pulse]))
    pool = ThreadPoolExecutor(shards_in_hand(config.workers, shards), thread_name_prefix="shard")
    try:
        for done in as_completed([pool.submit(worker, shard) for shard in shards]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        worker.close()


class _Actor:
    """A `ShardWorker` inside a Ray Data actor: one call per row, several at once.

    Errors of our own are returned as data: of a raised one Ray hands the driver only the traceback's text.
    """

    def __init__(self, settings: dict[str, Any], run: str, session: str, board: Any) -> None:
        name = ray.get_runtime_context().get_actor_id()
        config = BulkEditConfig.model_validate(settings)
        self._broken: UserError | None = None
        try:
            self._worker = ShardWorker(config, run, session, lambda pulse: board.put.remote(name, pulse))
        except UserError as error:
            self._broken = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._broken is not None:
            return _refusal(self._broken)
        try:
            receipt = self._worker(Shard(**json.loads(row["shard"])))
        except UserError as error:
            return _refusal(error)
        except EngineDead as error:
            # A clean process is the only cure. Ray starts one and hands the shard out again; careful mode
            # then finds the record that is to blame, if one is.
            print(f"worker leaves: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        return {"receipt": receipt.to_json(), "error": "", "message": ""}


def _refusal(error: UserError) -> dict[str, Any]:
    return {"receipt": "", "error": type(error).__name__, "message": str(error)}


@ray.remote(num_cpus=0)
class _Board:
    """Where workers leave their pulses. Those not heard of for ten seconds are gone."""

    def __init__(self) -> None:
        self._pulses: dict[str, tuple[float, Pulse]] = {}

    def put(self, worker: str, pulse: Pulse) -> None:
        self._pulses[worker] = (time.monotonic(), pulse)

    def read(self) -> list[Pulse]:
        return [pulse for heard, pulse in self._pulses.values() if time.monotonic() - heard < 10]


def _on_ray(config: BulkEditConfig, run: str, shards: Sequence[Shard], watch: Watcher) -> Iterator[Receipt]:
    workers = config.workers
    in_hand = shards_in_hand(workers, shards)
    board: Any = _Board.remote()
    rows = [{"shard": json.dumps(asdict(shard))} for shard in shards]
    actor: Any = _Actor  # Ray Data makes one per worker and calls that; its types only know functions
    names = ray.data.from_items(rows, override_num_blocks=len(rows))
    # Ray Data counts a pool as full by calls in flight per call slot. We give a worker no more calls than
    # slots, so the ratio never passes 1 and its own threshold of 1.75 would keep the pool at `min`.
    names.context.autoscaling_config.actor_pool_util_upscaling_threshold = 0.9
    receipts = names.map(
        actor,
        fn_constructor_args=(config.model_dump(mode="json"), run, _session(), board),
        compute=ActorPoolStrategy(
            min_size=workers.min,
            max_size=workers.most,
            max_tasks_in_flight_per_actor=in_hand,
            max_concurrent_calls_per_actor=in_hand,
            enable_true_multi_threading=True,
        ),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    with _watching(board, watch):
        for batch in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
            table: Any = batch
            for row in table.to_pylist():
                if row["error"]:
                    raise getattr(errors, row["error"])(row["message"])
                yield Receipt.from_json(row["receipt"])


@contextmanager
def _watching(board: Any, watch: Watcher) -> Iterator[None]:
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(1.0):
            try:
                watch(ray.get(board.read.remote(), timeout=5))
            except RayError:  # progress is a courtesy; the work goes on without it
                continue

    thread = threading.Thread(target=poll, name="board", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=6)
