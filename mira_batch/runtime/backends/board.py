"""Where workers on Ray leave their statuses and hear whether to end.

In a module of its own: the board's process starts with the first worker's and should import little.
"""

from __future__ import annotations

from collections.abc import Mapping

import ray

from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.processes import WorkerProcess


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Where workers leave their statuses and hear whether to end. It keeps nothing that isn't said again."""

    def __init__(self) -> None:
        self._statuses: dict[WorkerProcess, WorkerStatus] = {}
        self._stopping = False
        self._ended: Mapping[str, str] = {}
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

    def put(self, worker: WorkerProcess, status: WorkerStatus) -> bool:
        """A worker's heartbeat; answers whether it is to end."""
        self._statuses[worker] = status
        return self._stopping

    def read(self, stopping: bool, ended: Mapping[str, str]) -> dict[WorkerProcess, WorkerStatus]:
        """The statuses of all workers that were heard of since the last call.

        Args:
            stopping: what workers are told from now on.
            ended: why the driver ended processes, by their ids.
        """
        self._stopping, self._ended = stopping, ended
        heard, self._statuses = self._statuses, {}
        return heard

    def explain_end(self, process: str) -> str | None:
        """Why the driver ended the process of this id; None where it didn't."""
        return self._ended.get(process)
