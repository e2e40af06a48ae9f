"""Reads what is to be planned: here, or on a backend that is started for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.backends import Backend, make_backend
from mira_batch.runtime.job import Job
from mira_batch.runtime.prepare import Prepared
from mira_batch.runtime.scan import PIXELS, digest_pixels, needs_backend, scan_split
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.schema import scan_schema

ReadJobPart = Callable[[Job, Any], Iterator[pa.Table]]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what is to be planned: here, or on the backend if it is much."""

    job: Job
    run: Prepared
    backend: Backend
    """Started where it is needed."""
    stop: StopRequest
    stack: ExitStack
    """At its end the backend is ended."""

    def scan(self) -> Iterable[pa.Table]:
        """The rows of all splits, in order; only the first, if the job is about those."""
        first = self.job.config.first
        few = first is not None or not needs_backend(self.run.source, self.run.splits)
        rows = self._read(self.run.splits, scan_split, scan_schema(self.job.plan_schema), few)
        return rows if first is None else _take_first(rows, first)

    def read_pixels(self, parts: Sequence[pa.Table]) -> Iterable[pa.Table]:
        """`digest_pixels` of each part."""
        return self._read(parts, digest_pixels, PIXELS, len(parts) < 2)

    def _read(
        self, parts: Sequence[Any], read: ReadJobPart, fields: pa.Schema, few: bool
    ) -> Iterable[pa.Table]:
        if few:
            return (table for part in parts for table in read(self.job, part))
        start_backend(self.backend, self.job.config, self.stop, self.stack)
        return self.backend.read(self.job, parts, read, fields, partial(check_end, self.stop, self.run.spec))


def _take_first(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """So many rows, and nothing is read beyond the table that has the last of them."""
    for table in tables:
        yield table.slice(0, rows)
        rows -= table.num_rows
        if rows <= 0:
            return


def load_backend(job: Job, run: Prepared, stop: StopRequest) -> Backend:
    """The job's backend; it takes seconds to import, in which an exception might be lost.

    Args:
        job: the job.
        run: what is to be run on it.
        stop: heeded meanwhile.

    Raises:
        RunStopped: `stop` was asked.
    """
    with stop.heeding():
        backend = make_backend(job.config.backend)
    check_end(stop, run.spec)
    return backend


def start_backend(backend: Backend, config: JobConfig, stop: StopRequest, stack: ExitStack) -> None:
    """Start the backend, if it hasn't started; from then on until it has ended, `stop` is heeded.

    Args:
        backend: which.
        config: the job's.
        stop: heeded.
        stack: at its end the backend is ended.

    Raises:
        ConfigError: it can't be started.
    """
    stack.enter_context(stop.heeding())
    stack.enter_context(backend.start(config.workers))


def check_end(stop: StopRequest, spec: RunSpec) -> None:
    """End a run without a plan, if it is to end. A deadline waits for the plan: the next call has it.

    Raises:
        RunStopped: it is to end.
    """
    if stop.end is not None and stop.end is not RunEnd.deadline:
        summary = RunSummary(spec.uri, spec.name)
        raise RunStopped(stop.end, f"{stop.words}; nothing is lost, and the same command goes on", summary)
