"""A real shard worker that halts before each store operation, and goes on, fails or dies as a test says.

The store is in memory and shared: what one process did is there for the next. A process works on one
record at a time, so it is either halted at one operation or over, and everything is deterministic.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.simulated import SimulatedEditorConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.ports import EditRequest
from mira_batch.core.receipts import Receipt
from mira_batch.edit.job import EditJob
from mira_batch.models.simulated import SimulatedEditor
from mira_batch.runtime.attempts import Session
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage.run.layout import MODELS
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores.objects import Entry, Store, open_store

LONG = 30
"""Seconds after which a test that hangs gives up."""
Then = Literal["go", "refuse", "lose", "deny", "die", "half"]
"""What becomes of an operation: it is done; it fails; it is done, but the caller sees an error; it is done,
but a create says that the object was there already; the process dies before it, or half-way through."""

EDITOR = {"type": "custom", "factory": f"{__name__}:make_editor"}
edits: list[tuple[str, int]] = []
"""(record_id, step) of the edits made since this was last emptied."""


class _Editor(SimulatedEditor):
    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        edits.extend((request.record_id, request.step) for request in requests)
        return super().apply(requests)


def make_editor() -> SimulatedEditor:
    return _Editor(SimulatedEditorConfig(type="simulated"))


class Died(BaseException):
    """A killed process, at the operation it had come to."""


class Disk(Store):
    """The shared objects, and what was written there."""

    def __init__(self) -> None:
        super().__init__("memory://run", open_store("memory://run", StorageConfig())._store)
        self.made: dict[str, bytes] = {}
        """What processes wrote whole, by key, also if it was deleted or damaged since."""


class _Halting(Store):
    """The disk as a process sees it."""

    def __init__(self, disk: Disk, process: Process, planned: Store) -> None:
        """`planned` is the run's real directory: what is read of the plan is no operation of interest."""
        super().__init__(disk.uri, disk._store)
        self._planned = planned
        self._disk = disk
        self._process = process

    def create(self, key: str, data: bytes, durable: bool = True) -> bool:
        if key == MODELS:
            return self._planned.create(key, data, durable)
        then = self._process.halt("create", key)
        if then == "half" and not durable:  # a file that a power cut tore
            super().create(key, data[: len(data) // 2])
        self._end(then)
        made = super().create(key, data, durable)
        if made:
            self._disk.made[key] = data
        self._fail(then)
        return made and then != "deny"

    def put(self, key: str, data: bytes) -> None:
        then = self._process.halt("put", key)
        self._end(then)
        super().put(key, data)
        self._disk.made[key] = data
        self._fail(then)

    def get(self, key: str) -> bytes | None:
        if key == MODELS or key.startswith("plan"):
            return self._planned.get(key)
        self._end(self._process.halt("get", key))
        return super().get(key)

    def exists(self, key: str) -> bool:
        self._end(self._process.halt("exists", key))
        return super().exists(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        self._end(self._process.halt("list", prefix))
        yield from list(super().list(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        keys = sorted(keys)
        then = self._process.halt("delete", keys[0] if keys else "")
        if then == "half":
            super().delete(keys[: len(keys) // 2])
        self._end(then)
        super().delete(keys)
        self._fail(then)

    def _end(self, then: Then) -> None:
        if then in ("die", "half"):
            raise Died
        if then == "refuse":
            raise StoreError("scripted: refused")

    def _fail(self, then: Then) -> None:
        if then == "lose":
            raise StoreError("scripted: the answer is lost")


class Process:
    """A worker process that runs one shard. It is halted when this returns, and after each `step`."""

    def __init__(self, config: BulkEditConfig, run: str, shard: Shard, disk: Disk, session: str) -> None:
        """`run` is the run's real directory, where the plan is; all else is on `disk`."""
        self.pending: tuple[str, str] | None = None
        """The operation it has come to, and its key."""
        self.over = False
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None
        self.listed: int | None = None
        """When it looked what is logged; for the test to set."""
        self.began_before_commit = True
        """For the test to set."""
        self.stood: set[str] = set()
        """What stood in the shard's state when it looked last, or committed; for the test to set."""
        self.edited: Counter[tuple[str, int]] = Counter()
        """Its edits; for the test to count."""
        self.last_step: str | None = None
        """The key of the step file it wrote last."""
        self._then: Then | None = None
        self._dead = False
        self._turn = threading.Condition()
        planned = open_store(run, config.storage)
        self._worker = ShardWorker(EditJob(config), _Halting(disk, self, planned), Session(session))
        self._thread = threading.Thread(target=self._run, args=(shard,), daemon=True)
        self._thread.start()
        self._wait()

    def step(self, then: Then = "go") -> None:
        """Let the pending operation happen in this way, and run until the next one or the end."""
        with self._turn:
            self._then, self.pending = then, None
            self._turn.notify_all()
        self._wait()

    def close(self) -> None:
        """Kill it if it lives, and free its threads."""
        if not self.over:
            self.step("die")
        self._thread.join(LONG)
        self._worker.close()

    def halt(self, what: str, key: str) -> Then:
        """Called before an operation, in the process's own thread."""
        with self._turn:
            if self._dead:
                raise Died
            self.pending = (what, key)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._then is not None)
            then, self._then = self._then, None
            assert then is not None
            self._dead = then in ("die", "half")
            if what in ("create", "put") and key.endswith(".step"):
                self.last_step = key
            return then

    def _wait(self) -> None:
        with self._turn:
            moved = self._turn.wait_for(lambda: self.over or self.pending is not None, LONG)
            assert moved, "the process neither ended nor came to a store operation"

    def _run(self, shard: Shard) -> None:
        try:
            self.receipt = self._worker(shard)
        except BaseException as error:  # the process's end, whatever it is
            self.error = error
        with self._turn:
            self.over = True
            self._turn.notify_all()
