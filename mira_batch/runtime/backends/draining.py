"""Nodes that are being drained: the driver's memory of them, and what it tells people.

A drain is announced: the cloud reclaims a spot machine, Kubernetes ends a pod, the autoscaler or an operator
gives a machine up. Its workers have until the drain's deadline to hand their shards back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.processes import WorkerProcess


@dataclass
class _Drain:
    """A node that is being drained, and the workers that it had then."""

    host: str
    workers: dict[WorkerProcess, WorkerStatus | None]
    """The last that was heard of each; None when it died before it could leave."""


class DrainWatch:
    """Keeps the nodes that were ever seen draining, and tells people of those with workers on them."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        """Their ids; none is used again."""
        self._drains: list[_Drain] = []

    def begin(
        self, draining: Mapping[str, float], statuses: Mapping[WorkerProcess, WorkerStatus], now: float
    ) -> list[str]:
        """Take in which nodes are draining; what to tell people of those that are new.

        Args:
            draining: by node, when it will be gone.
            statuses: the last that was heard of each live worker.
            now: the time, as in `draining`.
        """
        notes: list[str] = []
        for node in draining.keys() - self.nodes:
            self.nodes.add(node)
            workers = {worker: status for worker, status in statuses.items() if worker.node == node}
            if not workers:
                continue
            drain = _Drain(next(iter(workers)).host, dict(workers))
            self._drains.append(drain)
            left = draining[node] - now
            until = f" and will be gone in {max(0.0, left):,.0f} s" if math.isfinite(left) else ""
            notes.append(
                f"node {drain.host} is being drained{until}: its workers ({len(workers)}) finish the steps "
                "in hand, then their shards go on elsewhere"
            )
        return notes

    def hear(self, heard: Mapping[WorkerProcess, WorkerStatus], gone: Iterable[WorkerProcess]) -> list[str]:
        """Take in what became of their workers; what to tell people of nodes that the last one has left.

        Args:
            heard: the statuses that are new.
            gone: the workers that died since the last call.
        """
        for drain in self._drains:
            drain.workers |= {worker: heard[worker] for worker in heard.keys() & drain.workers.keys()}
            for worker in drain.workers.keys() & set(gone):
                status = drain.workers[worker]
                if status is not None and not status.idle:
                    drain.workers[worker] = None
        over = [
            drain
            for drain in self._drains
            if all(status is None or status.idle for status in drain.workers.values())
        ]
        self._drains = [drain for drain in self._drains if drain not in over]
        return [_sum_up(drain) for drain in over]


def _sum_up(drain: _Drain) -> str:
    left = [status for status in drain.workers.values() if status is not None]
    shards = sum(status.handed_back for status in left)
    died = len(drain.workers) - len(left)
    said = [f"{shards} shards were handed back and go on elsewhere"] if shards else []
    if died:
        said.append(f"{died} of its workers died first, and what they had in hand goes on elsewhere")
    return f"node {drain.host} was drained: {'; '.join(said) or 'nothing was left to hand back'}"
