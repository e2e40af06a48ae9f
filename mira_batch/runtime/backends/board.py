"""Where workers on Ray leave their pulses and hear whether to end.

In a module of its own: the board's process starts with the first worker's and should import little.
"""

from __future__ import annotations

import time

import ray

from mira_batch.core.receipts import Pulse

_SILENT = 10.0
"""Seconds after which a worker that is not heard of is gone."""


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Where workers leave their pulses and hear whether to end. It keeps nothing that isn't said again."""

    def __init__(self) -> None:
        self._pulses: dict[str, tuple[float, Pulse]] = {}
        self._stopping = False

    def put(self, worker: str, pulse: Pulse) -> bool:
        self._pulses[worker] = (time.monotonic(), pulse)
        return self._stopping

    def read(self, stopping: bool) -> list[Pulse]:
        self._stopping = stopping
        heard = time.monotonic() - _SILENT
        self._pulses = {name: entry for name, entry in self._pulses.items() if entry[0] > heard}
        return [pulse for _, pulse in self._pulses.values()]
