"""The driver's ear: what workers on Ray are at, and the end of those that answer nobody.

A worker says about once a second that its event loop turns. One that hangs with the interpreter's lock held,
whose loop is blocked, or whose process is stopped can't keep its own time limits, so the driver does, from
outside: a process that was silent for longer than any call of a model may take, and a margin, is killed, and
goes the way of all that die (`attempts.py`). A worker that still loads its models has not spoken yet and is
never ended; nor does time count in which the driver or the board was itself stopped.

Workers on a node that is being drained are told so in the answer to their heartbeats (`Order.leave`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.draining import DrainWatch
from mira_batch.runtime.backends.nodes import find_draining_nodes
from mira_batch.runtime.backends.processes import WorkerProcess, is_alive, kill_process
from mira_batch.runtime.pool import Pool

_log = logging.getLogger(__name__)
_DOUBT = 5.0
"""Seconds of silence after which Ray is asked whether the process lives."""
_STEP = 5.0
"""Most seconds that count between two looks."""
_AGAIN = 60.0
"""Seconds until a process that is still there after it was to be killed is killed again."""


def find_patience(longest_call: float) -> float:
    """Seconds of silence after which a worker is ended, where a call may take so long. The worker's own clock
    ends a call that is merely too long before that, and knows its record by name."""
    return 1.1 * longest_call + 10


class SilenceWatch:
    """How long workers have been silent, for one who looks about once a second."""

    def __init__(self) -> None:
        self.silent: dict[WorkerProcess, float] = {}
        """Seconds, by worker that was ever heard of and not forgotten."""
        self._looked: float | None = None

    def look(self, heard: Mapping[WorkerProcess, Any], now: float) -> None:
        """Take in who was heard of since the last look.

        Args:
            heard: them.
            now: the time, in seconds. However long ago the last look was, it counts as 5 s at most: whoever
                was kept from looking can't know who was silent meanwhile.
        """
        passed = 0.0 if self._looked is None else min(now - self._looked, _STEP)
        self._looked = now
        self.silent = {worker: seconds + passed for worker, seconds in self.silent.items()}
        self.silent |= dict.fromkeys(heard, 0.0)

    def forget(self, worker: WorkerProcess) -> None:
        """It is gone."""
        self.silent.pop(worker, None)


class Listener:
    """Reads the board in a thread of the driver's, for a pool."""

    def __init__(self, board: Any, pool: Pool, note: Callable[[str], None], patience: float) -> None:
        """
        Args:
            board: the handle of a `Board`.
            pool: gets the statuses.
            note: told of workers that are ended.
            patience: seconds of silence after which a worker is ended.
        """
        self._board = board
        self._pool = pool
        self._note = note
        self._patience = patience
        self._watch = SilenceWatch()
        self._drains = DrainWatch()
        self._statuses: dict[WorkerProcess, WorkerStatus] = {}
        self._ended: dict[str, str] = {}
        """Why processes were ended, by their ids."""
        self._kills: dict[WorkerProcess, tuple[float, Any]] = {}
        """When the last kill of a process was begun, and its task."""

    def listen(self, closed: threading.Event) -> None:
        """Look until closed. The thread's boundary: without it progress is not seen, but the work goes on."""
        while not closed.wait(0.2 if self._pool.stopping else 1.0):
            try:
                self._look()
            except RayError:  # the board is moving to another node, or slow
                continue
            except Exception:
                _log.exception("can't look at the workers")

    def _look(self) -> None:
        told = self._pool.stopping
        for text in self._drains.begin(find_draining_nodes(), self._statuses, time.time()):
            self._note(text)
        heard: Any = ray.get(self._board.read.remote(told, self._ended, self._drains.nodes), timeout=5)
        self._watch.look(heard, time.monotonic())
        self._statuses |= heard
        for worker in heard:
            self._ended.pop(worker.id, None)
        gone: list[WorkerProcess] = []
        for worker, silent in list(self._watch.silent.items()):
            if silent > _DOUBT and not is_alive(worker):
                gone.append(worker)
                self._watch.forget(worker)
                self._statuses.pop(worker, None)
            elif silent > self._patience and not told:
                self._end(worker, silent)
        for text in self._drains.hear(heard, gone):
            self._note(text)
        silent = self._watch.silent
        self._pool.statuses = [
            replace(status, worker=str(worker), silent=silent[worker])
            for worker, status in self._statuses.items()
        ]
        self._pool.told = told

    def _end(self, worker: WorkerProcess, silent: float) -> None:
        if worker.id in self._ended:  # and the board knows by now, which whoever takes its shards over asks
            begun, _ = self._kills.get(worker, (-math.inf, None))
            if time.monotonic() - begun > _AGAIN:
                self._kills[worker] = (time.monotonic(), kill_process(worker))
            return
        at = ", ".join(map(repr, self._statuses[worker].in_flight))
        self._ended[worker.id] = f"it hung: it was ended after {silent:,.0f} s in which it answered nobody"
        self._note(
            f"worker {worker} has not answered for {silent:,.0f} s and is ended"
            + (f"; in flight were {at}" if at else "")
        )
