"""A job is an argument of the runner. What a job is asked, and what it is given.

The runner plans, cuts shards, runs records side by side, restarts what died and commits each shard once; it
knows no column beyond `record_id`, `work_id` and `status`. What happens to ONE record is the job's business.
`docs/jobs.md` has a whole job in sixty lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from mira_batch.config.base import Strict
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import MiraError
from mira_batch.core.identity import name_rollout
from mira_batch.core.receipts import Tally
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import Failure
from mira_batch.core.usage import Usage
from mira_batch.runtime.activity import ActivityReport
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.run.verify import RowCheck
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store

OnCall = Callable[[str, float, float, int], None]
"""Told of each call of a model: which replica, its begin and end (`time.perf_counter()`), how many
requests it answered."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One record of a shard."""

    record_id: str
    """The user's own name for it. Never used as a path."""
    work_id: str
    """Content hash of all that decides the result; names the record's step state."""
    shard: int
    """The number of its shard: records of the oldest go first, so that shards are committed early."""
    columns: Mapping[str, Any]
    """The whole row of the plan, as the job's `plan_schema` declares it."""
    readable: bool = True
    """False where the process died even while the row of this record's failure was made: then what it points
    to had better not be opened again."""

    @property
    def name(self) -> str:
        """What it is called among the others of its run, of which some may be of the same record."""
        return name_rollout(self.record_id, self.columns.get("rollout"))


@dataclass(frozen=True, slots=True)
class RecordResult:
    """What a record came to."""

    row: Mapping[str, Any]
    """Its row of the job's `result_schema`."""
    tally: Tally
    """The same as counts: `records` is 1."""


class RecordPostponed(MiraError):
    """The run is ending: a record runner raises this instead of beginning a further step. The record is
    left to the next call of the driver."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What a worker gives the job that it opens."""

    store: Store
    """The run's directory."""
    activity: ActivityReport
    """To be told what each record does from now on, and of each step made."""
    stop: StopRequest
    """Whether the run is ending."""
    readers: Executor
    """Threads for what comes from far away, as many as records in flight."""


class RecordRunner:
    """What a job opens once per worker: it holds the models, and runs one record at a time for whoever asks.

    Override `run` and `fail`; the rest has answers that are right for a job without models.
    """

    @property
    def identities(self) -> Mapping[str, str | None]:
        """Which models answer, by role. A run doesn't go on with others than it was begun with."""
        return {}

    @property
    def usage(self) -> Usage:
        """Seconds of all model calls so far, by role, and faults of endpoints that were waited out."""
        return Usage()

    @property
    def out_of_memory(self) -> int:
        """How many calls of any model ran out of memory so far."""
        return 0

    @property
    def requests_together(self) -> int:
        """The most requests that calls of all its models take at the same time. By it a worker chooses how
        many records it runs at once, where `workers.records_in_flight` is not set."""
        return 0

    def listen(self, on_call: OnCall) -> None:
        """Have each model call told of when it has ended, from any thread."""

    async def run(self, row: PlanRow, steps: ShardLog) -> RecordResult:
        """Run one record. Called for many records at once, on the worker's event loop: nothing here may
        block.

        Args:
            row: the record.
            steps: the step log of its shard; a job that logs no steps leaves it alone.

        Returns what it came to. A fault of the record's own is a failed row, never an exception.

        Raises:
            RecordPostponed: `context.stop` is set and there is a step more to be made.
            StoreError: the store failed beyond retries; the run ends and can be resumed.
            EngineDead: a model can't go on; the process leaves, and Ray starts another.
        """
        raise NotImplementedError

    async def fail(self, row: PlanRow, steps: ShardLog, failure: Failure) -> RecordResult:
        """The failed row of a record that is not run again, since it killed its worker.

        Args:
            row: the record. Reading its image may be what kills: `row.readable` says whether to dare.
            steps: the step log of its shard: what earlier attempts logged is of use.
            failure: why it is not run again.

        Raises:
            StoreError: the store failed beyond retries.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of the models."""


@runtime_checkable
class ReadsPixels(Protocol):
    """A job that can tell whether an image with a new version has new pixels."""

    def find_pixel_digest(self, row: Mapping[str, Any]) -> str | None:
        """Digest of the pixels that the image of a plan's row decodes to, as its results have it under
        `source_digest`; None where it can't be had. Called from several threads, on any worker.

        Raises:
            StoreError: its store can't be reached.
        """
        ...


class Configured(Protocol):
    """What a backend takes to its workers: it is made there of its config alone, `type(work)(config)`."""

    def __init__(self, config: Any) -> None: ...

    @property
    def config(self) -> Strict:
        """Its settings; as JSON data they travel."""
        ...


class Job(Protocol):
    """A job. It is made from its config alone, `type(job)(config)`, on the driver and on each worker."""

    plan_schema: pa.Schema
    """`record_id`, `work_id` (32 hex digits, of `core.identity.work_id`), and what its runner needs."""
    result_schema: pa.Schema
    """`record_id`, `work_id`, `status`, and what a record comes to. With a column `models` (role -> identity)
    results of other models are told apart when an earlier run's are to stand in."""

    def __init__(self, config: Any) -> None: ...

    @property
    def config(self) -> JobConfig:
        """The job's settings. Their `job` is its name, in messages and in `run.json`."""
        ...

    def fingerprint_fields(self) -> Mapping[str, Any]:
        """The settings that change a result, as plain JSON data: their hash is part of each work_id."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What a run can't change half-way, as plain JSON data: what it reads, under `input`, the
        `fingerprint_fields`, and the form of the rows."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before anything is read or written.

        Raises:
            ConfigError: naming the field and the fix.
        """
        ...

    def checks(self) -> Sequence[tuple[str, Callable[[], str]]]:
        """What `mira-batch validate` checks besides the store and the workers: a name each, and a function
        that returns what it found, in words, or raises a `MiraError`."""
        ...

    def find_source(self) -> Source:
        """Look at what the records come from.

        Raises:
            ManifestError: there is nothing, or it can't be read.
        """
        ...

    def scan(self, split: Any) -> Iterator[pa.Table]:
        """The rows of a split in order, in tables of schema `scan_schema(plan_schema)`. Runs on any worker.

        Raises:
            ManifestError: it can't be read to its end.
        """
        ...

    async def open(self, context: WorkerContext) -> RecordRunner:
        """Load the models, once per worker.

        Raises:
            UserError: one can't be loaded as configured.
        """
        ...

    def check_row(self, store: Store, row: Mapping[str, Any]) -> RowCheck:
        """What is wrong with a row of the results, for `mira-batch verify`. Called from several threads."""
        ...
