"""Where workers on Ray leave their statuses and hear whether to end.

In a module of its own: the board's process starts with the first worker's and should import little.
"""

from __future__ import annotations

import time

import ray

from mira_batch.core.receipts import WorkerStatus

_SILENT = 10.0
"""Seconds after which a worker that is not heard of is gone."""


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Where workers leave their statuses and hear whether to end. It keeps nothing that isn't said again."""

    def __init__(self) -> None:
        self._statuses: dict[str, tuple[float, WorkerStatus]] = {}
        self._stopping = False

    def put(self, worker: str, status: WorkerStatus) -> bool:
        """A worker's heartbeat; answers whether it is to end."""
        self._statuses[worker] = (time.monotonic(), status)
        return self._stopping

    def read(self, stopping: bool) -> list[WorkerStatus]:
        """The last status of each live worker. `stopping` is what workers are told from now on."""
        self._stopping = stopping
        heard = time.monotonic() - _SILENT
        self._statuses = {name: entry for name, entry in self._statuses.items() if entry[0] > heard}
        return [status for _, status in self._statuses.values()]
