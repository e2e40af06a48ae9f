"""Where workers on Ray leave their statuses and hear whether to end.

In a module of its own: the board's process starts with the first worker's and should import little.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import StrEnum

import ray

from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.processes import WorkerProcess


class Order(StrEnum):
    """What a worker hears in answer to its heartbeat."""

    go_on = "go_on"
    end = "end"
    """The run ends: finish the steps in hand, begin no more."""
    leave = "leave"
    """The node is being drained: the same, and then leave it, so that the work goes on elsewhere."""


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Where workers leave their statuses and hear whether to end. It keeps nothing that isn't said again."""

    def __init__(self) -> None:
        self._statuses: dict[WorkerProcess, WorkerStatus] = {}
        self._stopping = False
        self._ended: Mapping[str, str] = {}
        self._drained: Set[str] = frozenset()
        self._opening: dict[str, list[WorkerProcess]] = {}

    def begin(self, worker: str, process: WorkerProcess) -> list[WorkerProcess]:
        """A process of a worker begins to open the job; answers which before it died of that, in a row.

        Args:
            worker: Ray's name for the actor, which stays when its process is another.
            process: the process.
        """
        died = list(self._opening.setdefault(worker, []))
        self._opening[worker].append(process)
        return died

    def end(self, worker: str) -> None:
        """A worker has opened the job, or knows why it can't."""
        self._opening.pop(worker, None)

    def put(self, worker: WorkerProcess, status: WorkerStatus) -> Order:
        """A worker's heartbeat; answers what it is to do."""
        self._statuses[worker] = status
        if self._stopping:
            return Order.end
        return Order.leave if worker.node in self._drained else Order.go_on

    def read(
        self, stopping: bool, ended: Mapping[str, str], drained: Set[str]
    ) -> dict[WorkerProcess, WorkerStatus]:
        """The statuses of all workers that were heard of since the last call.

        Args:
            stopping: whether workers are told to end from now on.
            ended: why the driver ended processes, by their ids.
            drained: the nodes that were ever seen draining: workers are told to leave them.
        """
        self._stopping, self._ended, self._drained = stopping, ended, drained
        heard, self._statuses = self._statuses, {}
        return heard

    def explain_end(self, process: WorkerProcess) -> tuple[str | None, bool]:
        """Why the driver ended a process, None where it didn't; and whether its node was being drained."""
        return self._ended.get(process.id), process.node in self._drained
