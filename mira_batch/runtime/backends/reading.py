"""Has Ray Data read what a job reads, and takes its rows by a thread, so that the driver can look around
while nothing comes. Imported only where there is much to read: Ray Data takes a second."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, ExecutionResources

from mira_batch.core.errors import ClusterLost
from mira_batch.runtime.backends.session import HeldRay, explain

_ENDING = 20.0
"""Most seconds that ending a dataset's run may take."""


def read_parts(
    parts: Sequence[bytes],
    read: Callable[[pa.Table], Iterator[pa.Table]],
    held: HeldRay,
    look: Callable[[], None],
) -> Iterator[pa.Table]:
    """The tables that tasks of Ray Data make of parts, in the order of these.

    Args:
        parts: pickled.
        read: makes tables of a part, which is the one row of the column `part`. Runs on any worker.
        held: the Ray it runs on.
        look: called now and then; what it raises ends the reading.

    Raises:
        MiraError: Ray could not go on.
        ClusterLost: Ray died.
    """
    _quieten()
    dataset = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    dataset.context.execution_options.preserve_order = True
    # Else Ray gathers up to 128 MB of rows before the driver sees the first: no progress, more memory.
    dataset.context.target_max_block_size = 4 << 20
    # On the CPUs that are there: else Ray Data asks for more, and a cluster that grows from nothing would
    # pay for GPU nodes before it is known whether there is work for them.
    have = ray.cluster_resources().get("CPU", 0)
    here = ExecutionResources.for_limits(cpu=max(1, have), gpu=0)
    dataset.context.execution_options.resource_limits = here
    scanned = dataset.map_batches(read, batch_size=1, batch_format="pyarrow")
    scanned.set_name("plan")
    return _read_tables(scanned, held, look)


def _quieten() -> None:
    """Our own progress replaces Ray Data's bars and notes."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _read_tables(dataset: Dataset, held: HeldRay, look: Callable[[], None]) -> Iterator[pa.Table]:
    """A dataset's tables."""
    tables: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=4)
    closed, executors = threading.Event(), _watch_executors(dataset)

    def put(found: Any) -> None:
        while not closed.is_set():
            with suppress(queue.Full):
                return tables.put(found, timeout=0.1)

    def read() -> None:
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                put(batch)
                if closed.is_set():
                    return
            put(None)
        except Exception as error:  # the thread's boundary: Ray Data raises what it likes
            put(explain(held, error, "read what the job reads"))

    reading = threading.Thread(target=read, name="rows", daemon=True)
    reading.start()
    try:
        while True:
            look()
            if held.lost:
                raise ClusterLost(held.lost)
            try:
                found = tables.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found
    finally:
        closed.set()
        if not held.lost:
            _end_reading(executors, reading)


def _watch_executors(dataset: Dataset) -> list[Any] | None:
    """A list that fills with what runs the dataset, as soon as that is made; None where this Ray has no such
    thing, and only its own shutdown ends them.

    Ray Data itself hands it out only with the first result, and a run may have to end before there is one.
    """
    made: list[Any] = []
    source: Any = dataset
    create = getattr(source, "_create_executor", None)
    if create is None:
        return None

    def create_and_keep() -> Any:
        made.append(create())
        return made[-1]

    source._create_executor = create_and_keep
    return made


def _end_reading(executors: list[Any] | None, reading: threading.Thread) -> None:
    """End the tasks of a reading that is not at its end.

    Ray Data ends them when its iterator is let go of, but ours waits in another thread, where nothing
    public can reach it. That thread must be over before Ray is shut down, or it would go on with the next
    Ray that it finds.
    """
    until = time.monotonic() + _ENDING
    while executors is not None and reading.is_alive() and time.monotonic() < until:
        for executor in executors:  # does nothing while it is only just being set up
            executor.shutdown(force=True)
        reading.join(timeout=0.1)
