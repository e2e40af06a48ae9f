"""The driver at work with workers that only tell: receipts and heartbeats as real ones send them."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rich.console import Console

from mira_batch.config.load import load_config
from mira_batch.core.receipts import Activity, Progress, Receipt, RunSummary, Tally, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.usage import Usage
from mira_batch.report.progress import Terminal
from mira_batch.runtime.drive import drive
from mira_batch.runtime.ledger import Ledger, from_json, to_json
from mira_batch.runtime.live import LiveWriter, Watchers
from mira_batch.runtime.pool import Pool
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores import open_store

RECORDS = 32
"""Of a shard."""
IN_FLIGHT = 16
"""Records of a worker."""
_AHEAD = 1000
"""Receipts that may wait for the driver while it is fed as fast as it takes them."""


class _Waits(Progress):
    """How long receipts waited for the driver."""

    def __init__(self) -> None:
        self.sent: deque[float] = deque()
        self.waited: list[float] = []

    def committed(self, summary: RunSummary) -> None:
        self.waited.append(time.perf_counter() - self.sent.popleft())


class _Workers:
    """Threads that put into a pool what so many workers would tell."""

    def __init__(self, pool: Pool, waits: _Waits, workers: int) -> None:
        self.began = self.paced = self.cpu = 0.0
        """When the first receipt was sent, and the first paced one; CPU seconds of the process by then."""
        self._pool = pool
        self._waits = waits
        self._workers = workers
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, shards: int, rate: float, seconds: float) -> None:
        """Tell; see `drive_simulated`."""
        targets = (partial(self._feed, shards, rate, seconds), self._listen)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """No heartbeat more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _feed(self, shards: int, rate: float, seconds: float) -> None:
        texts = [to_json(_make_receipt(worker)) for worker in range(self._workers)]
        paced = shards - round(rate * seconds)
        self.began = time.perf_counter()
        for index in range(shards):
            if index == paced:
                while self._waits.sent:
                    time.sleep(0.001)
                self.paced, self.cpu = time.perf_counter(), time.process_time()
            while index >= paced and time.perf_counter() - self.paced < (index - paced) / rate:
                time.sleep(0.001)
            while len(self._waits.sent) > _AHEAD:
                time.sleep(0.001)
            self._waits.sent.append(time.perf_counter())
            receipt = from_json(json.loads(texts[index % self._workers]))  # as the backend has it from Ray
            self._pool.answers.put(replace(receipt, shard=index))
        self._pool.answers.put(None)

    def _listen(self) -> None:
        heard = pickle.dumps([_make_status(worker) for worker in range(self._workers)])
        while not self._ended.wait(1.0):
            self._pool.statuses = [
                replace(status, worker=f"node-{worker}-1", silent=0.1)
                for worker, status in enumerate(pickle.loads(heard))
            ]


def drive_simulated(folder: str, workers: int, shards: int, rate: float, seconds: float) -> dict[str, Any]:
    """Drive a run of so many shards: most of their receipts come as fast as they are taken, the last ones at
    their pace. Heartbeats of all workers come every second.

    Args:
        folder: scratch space.
        workers: how many tell.
        shards: of the run.
        rate: receipts a second, of all workers together, in the second part.
        seconds: of the second part.

    Returns `receipts_per_second` of the first part, and of the second one `cores`, the CPU seconds per second
    of what was to come, `behind`: how many seconds longer it took, and `waited`: for how long receipts
    waited, sorted, in seconds.
    """
    config = load_config(_settings(folder, workers))
    store = open_store(f"{folder}/run", config.storage)
    todo = [Shard(index, f"plan/{index // 256:04d}", index % 256, RECORDS) for index in range(shards)]
    summary = RunSummary(store.uri, "run", planned=shards * RECORDS, shards=shards)
    pool, waits = Pool(), _Waits()
    telling = _Workers(pool, waits, workers)
    with (
        open(os.devnull, "w") as nowhere,
        Terminal(Console(file=nowhere, force_terminal=True)) as terminal,
        LiveWriter(store) as live,
    ):
        watch = Watchers(terminal, live, waits)
        watch.executing(summary)
        ledger = Ledger(store, "0", summary)
        telling.begin(shards, rate, seconds)
        drive(config, pool, todo, ledger, watch, StopRequest())
        ledger.save()
        took, cpu = time.perf_counter() - telling.paced, time.process_time() - telling.cpu
    telling.end()
    if ledger.summary.committed != summary.planned or ledger.summary.ok != summary.planned:
        raise RuntimeError(f"receipts are lost: {ledger.summary.committed} of {summary.planned}")
    paced = round(rate * seconds)
    return {
        "receipts_per_second": (shards - paced) / (telling.paced - telling.began),
        "cores": cpu / seconds,  # where others have the CPUs it takes longer, and does no less
        "behind": took - seconds,
        "waited": sorted(waits.waited[-paced:]),
    }


def _settings(folder: str, workers: int) -> dict[str, Any]:
    return {
        "input": {"manifest": f"{folder}/manifest.jsonl"},
        "output": {"uri": folder},
        "policy": {"type": "simulated"},
        "editor": {"type": "simulated"},
        "workers": {"min": workers},
    }


def _make_receipt(worker: int) -> Receipt:
    seconds = Usage.of(worker=4.0, gpu=4.0, load=0.1, io=0.3, policy=0.9, editor=3.6, policy_waiting=2.0)
    tally = Tally(
        RECORDS, RECORDS, 77, 0, {}, {"policy_stop": RECORDS}, Usage.of(policy=9.0, editor=36.0, io=3.0)
    )
    return Receipt(0, tally, 3_000_000, worker=f"node-{worker}-1", breakdown=seconds)


def _make_status(worker: int) -> WorkerStatus:
    doing: Sequence[str] = ("policy", "editor", "editor", "logging")
    flights = {
        f"catalogue/sku-{worker:05d}-{record:04d}": Activity(record % 5, doing[record % 4], 0.1 * record)
        for record in range(IN_FLIGHT)
    }
    return WorkerStatus(Tally(RECORDS, RECORDS, 77), 1000 + worker, 4, flights)
