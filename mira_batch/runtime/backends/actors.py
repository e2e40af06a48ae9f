"""Workers as actors of Ray: what runs in their processes.

In a module of its own: whatever it imports, each worker's process imports before it loads its models.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from mira_batch.config.base import Strict
from mira_batch.core.errors import ConfigError, EngineDead, JobError, UserError
from mira_batch.core.receipts import WorkerStatus
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.attempts import ProcessEnd, Session
from mira_batch.runtime.backends.board import Order
from mira_batch.runtime.backends.errors import pack_error
from mira_batch.runtime.backends.nodes import find_loss
from mira_batch.runtime.backends.processes import LAST_WORDS, WorkerProcess, explain_exit, find_own_process
from mira_batch.runtime.job import Configured
from mira_batch.runtime.ledger import to_json
from mira_batch.runtime.loss import Loss
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage.arrow import defer_pandas
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores import open_store

_MOST_OPENINGS = 3
"""Processes of a worker in a row that may die while they open the job, by a factory that ends its process,
say."""


@ray.remote(max_restarts=-1, max_task_retries=-1)
class ShardActor:
    """A `ShardWorker` in a process of Ray's: a call for each shard, several at once.

    Errors of our own are returned as data: of a raised one Ray hands the driver only the traceback's text.
    """

    def __init__(self, job: PackedJob, run: str, session: str, board: Any, profile: bool) -> None:
        defer_pandas()
        own = find_own_process()
        self._leaving = False

        def heartbeat(status: WorkerStatus) -> bool:
            try:
                answer: Any = board.put.remote(own, status)
                order: Order = ray.get(answer, timeout=5)
            except RayError:  # the board is moving to another node, or slow; the work goes on
                return False
            if order is Order.leave:
                self._leaving = True
                if status.idle:  # Ray starts the actor elsewhere, and hands out there what is not answered
                    os._exit(0)
            return order is not Order.go_on

        def explain_end(process: str) -> ProcessEnd:
            dead = WorkerProcess(**json.loads(process))
            hung, drained, loss = None, False, Loss.process
            with suppress(RayError):
                words: Any = board.explain_end.remote(dead)
                hung, drained = ray.get(words, timeout=5)
            with suppress(RayError):
                loss = Loss.preempted if drained else find_loss(dead.node)
            if loss is not Loss.process:
                return ProcessEnd(loss)
            failure = Failure(ErrorKind.step_timeout, hung) if hung else explain_exit(dead, own)
            return ProcessEnd(failure=failure)

        self._broken: UserError | JobError | None = None
        worker = ray.get_runtime_context().get_actor_id()
        before: Any = ray.get(board.begin.remote(worker, own))
        died = [
            process for process in before if explain_end(json.dumps(asdict(process))).loss is Loss.process
        ]
        if len(died) >= _MOST_OPENINGS:  # Ray would start another, for ever
            self._broken = job.explain_opening(len(died), explain_exit(died[-1], own))
            return
        try:
            unpacked = job.unpack()
            store = open_store(run, unpacked.config.storage)
            here = Session(session, json.dumps(asdict(own)), explain_end)
            self._worker = ShardWorker(unpacked, store, here, heartbeat, profile)
        except (UserError, JobError) as error:
            self._broken = error
        board.end.remote(worker)

    def open(self) -> dict[str, str]:
        """`in_flight`, as soon as the job is open: how many records it runs at once; `error` and `message`
        where it can't be opened."""
        if self._broken is not None:
            return pack_error(self._broken)
        return {"in_flight": str(self._worker.records_in_flight)}

    def run(self, shard: dict[str, Any]) -> dict[str, str]:
        """A shard, as JSON data -> `receipt` and `spans`, or `error` and `message`, or nothing where the run
        ends before the shard does."""
        if self._broken is not None:  # the process before this one had opened it
            return pack_error(self._broken)
        try:
            receipt = self._worker(Shard(**shard))
        except (UserError, JobError) as error:
            return pack_error(error)
        except EngineDead as error:
            # A clean process is the only cure. Ray starts one and hands the shard out again; isolation
            # then finds the record that is to blame, if one is.
            try:
                print(f"{LAST_WORDS}{error}", file=sys.stderr, flush=True)
            finally:  # a model may have closed it
                os._exit(1)
        if receipt is None:
            if self._leaving:
                # An answer would be the end of this shard. Without one Ray gives it to the process that
                # follows this one.
                threading.Event().wait()
            return {}
        return {"receipt": to_json(receipt), "spans": json.dumps(receipt.spans)}


@dataclass(frozen=True)
class PackedJob:
    """A job on its way to a worker, whose packages may be of other versions than the driver's: settings
    travel as JSON data, classes by name."""

    job: type[Configured]
    config: type[Strict]
    settings: dict[str, Any]

    @classmethod
    def pack(cls, job: Configured) -> PackedJob:
        """For the way."""
        return cls(type(job), type(job.config), job.config.model_dump(mode="json"))

    def unpack(self) -> Any:
        """The job, by the classes that this process has."""
        return self.job(self.config.model_validate(self.settings))

    def explain_opening(self, deaths: int, last: Failure | None) -> ConfigError:
        """Why no further process tries to open it: so many died of that, the last one so."""
        factories = ", ".join(_find_factories(self.settings))
        loading = f" and calling {factories}" if factories else ""
        how = f": {last.message}" if last else ""
        return ConfigError(
            f"job {self.settings['job']}: {deaths} worker processes in a row died while opening it"
            f"{loading}{how}"
        )


def _find_factories(settings: Any) -> Iterator[str]:
    """The functions of a user's own that settings name, wherever they are."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            if name == "factory" and isinstance(value, str):
                yield value
            yield from _find_factories(value)
