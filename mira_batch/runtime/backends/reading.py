"""Reads what a dataset gives by a thread, so that the driver can look around while nothing comes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
from ray.data import Dataset

from mira_batch.core.errors import ClusterLost, MiraError, describe
from mira_batch.runtime.backends.session import HeldRay

_ENDING = 20.0
"""Most seconds that ending a dataset's run may take."""


def read_tables(dataset: Dataset, held: HeldRay, look: Callable[[], None]) -> Iterator[pa.Table]:
    """A dataset's tables.

    Args:
        dataset: what is to be run and read.
        held: the Ray it runs on.
        look: called now and then; what it raises ends the reading.

    Raises:
        MiraError: Ray could not go on.
        ClusterLost: Ray died.
    """
    tables: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=4)
    closed, executors = threading.Event(), watch_executors(dataset)

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
            end_pool(executors, reading)


def explain(held: HeldRay, error: Exception, doing: str) -> MiraError:
    """What to say of something that Ray raised, which may be the first sign that it died.

    Args:
        held: the Ray that raised it.
        error: what it raised.
        doing: what it could not do.
    """
    if lost := held.wait_lost():
        return ClusterLost(lost)
    failure = MiraError(f"Ray could not {doing}: {describe(error)}")
    failure.__cause__ = error
    return failure


def watch_executors(dataset: Dataset) -> list[Any] | None:
    """A list that fills with what runs the dataset, as soon as that is made; None where this Ray has no such
    thing, and only its own shutdown ends a pool.

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


def end_pool(executors: list[Any] | None, feeding: threading.Thread) -> None:
    """End the workers of a pool that has shards left.

    Ray Data ends a pool when its iterator is let go of, but ours waits in another thread, where nothing
    public can reach it. That thread must be over before Ray is shut down, or it would go on with the next
    Ray that it finds.
    """
    until = time.monotonic() + _ENDING
    while executors is not None and feeding.is_alive() and time.monotonic() < until:
        for executor in executors:  # does nothing while it is only just being set up
            executor.shutdown(force=True)
        feeding.join(timeout=0.1)
