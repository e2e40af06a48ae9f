"""The Ray backend: hands shard names to a Ray Data actor pool and takes back receipts."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset, ExecutionResources
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mira_batch.config.base import Strict
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import (
    ClusterLost,
    ConfigError,
    EndpointError,
    EngineDead,
    JobError,
    ManifestError,
    RunConflict,
    StoreError,
    UserError,
)
from mira_batch.core.receipts import Progress, WorkerStatus
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.attempts import ProcessEnd, Session
from mira_batch.runtime.backends.board import Board, Order
from mira_batch.runtime.backends.cluster import notes, ray_session
from mira_batch.runtime.backends.listener import Listener, find_patience
from mira_batch.runtime.backends.metrics import RayMetrics
from mira_batch.runtime.backends.nodes import find_loss
from mira_batch.runtime.backends.processes import LAST_WORDS, WorkerProcess, explain_exit, find_own_process
from mira_batch.runtime.backends.reading import end_pool, explain, read_tables, watch_executors
from mira_batch.runtime.backends.session import HeldRay
from mira_batch.runtime.job import Configured
from mira_batch.runtime.ledger import from_json, to_json
from mira_batch.runtime.loss import Loss
from mira_batch.runtime.pool import Assignment, Pool, count_shards_in_hand
from mira_batch.runtime.scan import ReadPart, W
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.stores import open_store

_ERRORS = {
    kind.__name__: kind
    for kind in (ConfigError, ManifestError, StoreError, EndpointError, RunConflict, UserError, JobError)
}
"""What a worker may refuse with, by name: errors travel to the driver as data."""
_ERROR = pa.field("error", pa.string())
_MOST_OPENINGS = 3
"""Processes of a worker in a row that may die while they open the job, by a factory that ends its process,
say."""
_NOTHING = {"receipt": "", "spans": "", "error": "", "message": ""}
"""What a call returns, while it holds nothing."""


class _Actor:
    """A `ShardWorker` inside a Ray Data actor: one call per row, several at once.

    Errors of our own are returned as data: of a raised one Ray hands the driver only the traceback's text.
    """

    def __init__(self, job: _PackedJob, run: str, session: str, board: Any, profile: bool) -> None:
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

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._broken is not None:
            return _refuse(self._broken)
        try:
            receipt = self._worker(Shard(**json.loads(row["shard"])))
        except (UserError, JobError) as error:
            return _refuse(error)
        except EngineDead as error:
            # A clean process is the only cure. Ray starts one and hands the shard out again; isolation
            # then finds the record that is to blame, if one is.
            try:
                print(f"{LAST_WORDS}{error}", file=sys.stderr, flush=True)
            finally:  # a model may have closed it
                os._exit(1)
        if receipt is None:
            if self._leaving:
                # An answer would be the end of this shard in Ray Data's eyes. Without one it goes to the
                # process that follows this one.
                threading.Event().wait()
            return _NOTHING
        return _NOTHING | {"receipt": to_json(receipt), "spans": json.dumps(receipt.spans)}


def _refuse(error: UserError | JobError) -> dict[str, Any]:
    return _NOTHING | {"error": type(error).__name__, "message": str(error)}


@dataclass(frozen=True)
class _PackedJob:
    """A job on its way to a worker, whose packages may be of other versions than the driver's: settings
    travel as JSON data, classes by name."""

    job: type[Configured]
    config: type[Strict]
    settings: dict[str, Any]

    @classmethod
    def pack(cls, job: Configured) -> _PackedJob:
        return cls(type(job), type(job.config), job.config.model_dump(mode="json"))

    def unpack(self) -> Any:
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


class RayBackend:
    """An actor pool of Ray Data, on the cluster there is or on a Ray of our own on this machine."""

    _held: HeldRay
    """Set while started."""

    @contextmanager
    def start(self, workers: WorkersConfig) -> Iterator[None]:
        """Connect to Ray, or start one; nothing, where that is done."""
        if hasattr(self, "_held"):
            yield
            return
        with ray_session(workers) as self._held:
            yield
        del self._held

    def read(
        self,
        job: W,
        parts: Sequence[Any],
        read_part: ReadPart[W],
        fields: pa.Schema,
        look: Callable[[], None],
    ) -> Iterator[pa.Table]:
        """Parts side by side, their tables in order (the first of two duplicates must be the first).

        Args:
            job, parts, read_part, fields, look: as of `Backend.read`.

        Raises:
            UserError: what `read_part` raised.
            ClusterLost: Ray died.
        """
        packed, whole = _PackedJob.pack(job), fields.append(_ERROR)

        def scan(batch: pa.Table) -> Iterator[pa.Table]:
            part = pickle.loads(batch["part"][0].as_py())
            try:
                for table in read_part(packed.unpack(), part):
                    yield table.append_column(_ERROR, pa.nulls(table.num_rows, pa.string()))
            except (UserError, JobError) as error:  # as data: of a raised one Ray hands over only text
                text = json.dumps([type(error).__name__, str(error)])
                yield pa.Table.from_pylist([{_ERROR.name: text}], schema=whole)

        dataset = ray.data.from_items(
            [{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts)
        )
        dataset.context.execution_options.preserve_order = True
        # Else Ray gathers up to 128 MB of rows before the driver sees the first: no progress, more memory.
        dataset.context.target_max_block_size = 4 << 20
        # On the CPUs that are there: else Ray Data asks for more, and a cluster that grows from nothing would
        # pay for GPU nodes before it is known whether there is work for them.
        have = ray.cluster_resources().get("CPU", 0)
        here = ExecutionResources.for_limits(cpu=max(1, have), gpu=0)
        dataset.context.execution_options.resource_limits = here
        scanned = dataset.map_batches(scan, batch_size=1, batch_format="pyarrow")
        scanned.set_name("plan")
        for table in read_tables(scanned, self._held, look):
            for text in table[_ERROR.name].drop_null().to_pylist():
                kind, message = json.loads(text)
                raise _ERRORS[kind](message)
            yield table.drop_columns(_ERROR.name)

    def make_metrics(self, run: str) -> Progress:
        """Through Ray's own metrics."""
        return RayMetrics(run)

    @contextmanager
    def open_pool(self, work: Assignment) -> Iterator[Pool]:
        """A pool of actors on the Ray that this process is connected to."""
        pool, held = Pool(), self._held
        held.on_lost = lambda: pool.answers.put(ClusterLost(held.lost))
        # On the driver's own node, so that no lost node takes it along.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        board: Any = Board.options(scheduling_strategy=here).remote()
        dataset = _make_dataset(work, board)
        closed, executors = threading.Event(), watch_executors(dataset)
        feeding = threading.Thread(
            target=_feed, args=(dataset, pool, closed, held), name="receipts", daemon=True
        )
        patience = find_patience(work.job.config.limits.longest_call)
        listener = Listener(board, pool, work.note, patience)
        listening = threading.Thread(target=listener.listen, args=(closed,), name="board", daemon=True)
        feeding.start()
        listening.start()
        try:
            yield pool
        finally:
            closed.set()
            if not held.lost:
                if not pool.ended:
                    notes.disabled = True
                    end_pool(executors, feeding)
                listening.join(timeout=6)  # it may wait for an answer, for 5 s


def _make_dataset(work: Assignment, board: Any) -> Dataset:
    """The receipts of its shards, as they come."""
    workers, shards = work.job.config.workers, work.shards
    in_hand = count_shards_in_hand(workers, shards)
    rows = [{"shard": json.dumps(asdict(shard))} for shard in shards]
    actor: Any = _Actor  # Ray Data makes one per worker and calls that; its types only know functions
    names = ray.data.from_items(rows, override_num_blocks=len(rows))
    # Ray Data counts a pool as full by calls in flight per call slot. We give a worker no more calls than
    # slots, so the ratio never passes 1 and its own threshold of 1.75 would keep the pool at `min`.
    names.context.autoscaling_config.actor_pool_util_upscaling_threshold = 0.9
    dataset = names.map(
        actor,
        fn_constructor_args=(_PackedJob.pack(work.job), work.run, work.session, board, work.profile),
        compute=ActorPoolStrategy(
            min_size=workers.min,
            max_size=workers.most,
            max_tasks_in_flight_per_actor=in_hand,
            max_concurrent_calls_per_actor=in_hand,
            enable_true_multi_threading=True,
        ),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
        runtime_env=workers.runtime_env or None,
    )
    dataset.set_name(work.run.rpartition("/")[2])  # by which Ray's dashboard and metrics call it
    return dataset


def _feed(
    dataset: Dataset,
    pool: Pool,
    closed: threading.Event,
    held: HeldRay,
) -> None:
    """Pass receipts on. In a thread, so that the driver can look at the clock while none comes."""
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            table: Any = batch
            for row in table.to_pylist():
                if row["error"]:
                    pool.answers.put(_ERRORS[row["error"]](row["message"]))
                elif row["receipt"]:
                    receipt = from_json(json.loads(row["receipt"]))
                    pool.answers.put(replace(receipt, spans=tuple(map(tuple, json.loads(row["spans"])))))
            if closed.is_set():
                return
        pool.answers.put(None)
    except Exception as error:  # the thread's boundary: Ray Data raises what it likes
        pool.answers.put(explain(held, error, "go on with the pool"))
