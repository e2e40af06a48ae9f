"""What workers tell the driver, and the driver its user: counts and names, never images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mira_batch.core.types import RunEnd
from mira_batch.core.usage import Span, Usage


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of records that ended, and what they took; tallies can be added and subtracted."""

    records: int = 0
    ok: int = 0
    steps: int = 0
    """Steps in their trajectories."""
    resumed_steps: int = 0
    """Of those, restored from the step log instead of made again."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed records by error kind."""
    stops: Mapping[str, int] = field(default_factory=dict)
    """Records that did not fail, by stop reason."""
    usage: Usage = field(default_factory=Usage)
    """Where the records' time went, summed over records that ran side by side, and what endpoints charged."""
    unfinished: int = 0
    """Records that a limit or a guard ended; they are neither ok nor failed."""

    @property
    def failed(self) -> int:
        """Records that are neither ok nor unfinished."""
        return self.records - self.ok - self.unfinished

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.records + other.records,
            self.ok + other.ok,
            self.steps + other.steps,
            self.resumed_steps + other.resumed_steps,
            dict(Counter(self.errors) + Counter(other.errors)),
            dict(Counter(self.stops) + Counter(other.stops)),
            self.usage + other.usage,
            self.unfinished + other.unfinished,
        )

    def __sub__(self, other: Tally) -> Tally:
        return Tally(
            self.records - other.records,
            self.ok - other.ok,
            self.steps - other.steps,
            self.resumed_steps - other.resumed_steps,
            dict(Counter(self.errors) - Counter(other.errors)),
            dict(Counter(self.stops) - Counter(other.stops)),
            self.usage - other.usage,
            self.unfinished - other.unfinished,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker tells the driver of a shard that it ran. Receipts can be added up."""

    shard: int = -1
    """Which; -1 for the sum of several."""
    tally: Tally = field(default_factory=Tally)
    """Its records."""
    written: int = 0
    """Bytes of the result file."""
    committed: bool = True
    """False: another worker had committed this shard, and these are its counts; our work is not kept."""
    restarts: int = 0
    """Whether it was begun again because a worker died: 1, or 0."""
    worker: str = ""
    """Who committed it: host and process."""
    breakdown: Usage = field(default_factory=Usage)
    """Where that worker's time went since its last commit, and endpoints' faults it waited out."""
    spans: tuple[Span, ...] = ()
    """The same moment by moment, for a profile; not kept with the results."""

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            tally=self.tally + other.tally,
            written=self.written + other.written,
            restarts=self.restarts + other.restarts,
            breakdown=self.breakdown + other.breakdown,
        )


@dataclass(frozen=True, slots=True)
class Activity:
    """What a record is doing just now."""

    step: int
    """The step it is at, from 0."""
    doing: str
    """reading, the role of a model, logging or writing."""
    seconds: float
    """For how long."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker's live figures, for progress between receipts. Each heartbeat carries one."""

    ended: Tally = field(default_factory=Tally)
    """Records that ended in shards not yet committed."""
    steps: int = 0
    """Steps made since the worker started."""
    shards: int = 0
    """Shards in hand."""
    in_flight: Mapping[str, Activity] = field(default_factory=dict)
    """Records running now, by record_id."""
    out_of_memory: int = 0
    """How often a batch had to be made smaller since the worker started."""
    stopping: bool = False
    """Told to end: steps in hand are finished, nothing more is begun."""
    handed_back: int = 0
    """Shards given back uncommitted since then."""
    worker: str = ""
    """Whose status it is: host and process."""
    silent: float = 0.0
    """Seconds since it was heard of, as far as anybody watches that."""

    @property
    def idle(self) -> bool:
        """Nothing in hand and nothing more to come."""
        return self.stopping and not self.shards


@dataclass(frozen=True)
class CauseCount:
    """Rows of a manifest that are run, or not, for the same cause."""

    records: int
    example: str
    """The record_id of one; empty where none is known."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """Of records whose settings changed: how many of them by each setting, from what to what."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure that is expected to lie between two others."""

    low: float
    """The least that is expected."""
    high: float
    """The most."""

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan is expected to take, by what earlier runs of the same models took for a record. What cannot
    be known is None, never 0."""

    runs: int
    """Of how many runs."""
    edits: Range | None = None
    """Edits of all its records."""
    worker_hours: Range | None = None
    """Over all workers, loading of models included."""
    dollars: Range | None = None
    """GPUs by `prices.gpu_hour`, and endpoints."""
    hours: Range | None = None
    """From start to end, with as many workers as the pool may have."""
    workers: int = 1
    """How many that is."""


@dataclass(frozen=True)
class RunSummary:
    """What became of a run, over all calls of the driver, and what this call took."""

    run: str
    """The run's directory."""
    run_id: str
    planned: int = 0
    """Records in the plan."""
    committed: int = 0
    """Records in `results/` now."""
    already: int = 0
    """Of those, committed before this call."""
    rejected: int = 0
    """Manifest rows in `plan/rejects.parquet`."""
    skipped: int = 0
    """Records that an earlier run under the same output has."""
    shards: int = 0
    """Shards in the plan."""
    plan: str = ""
    """Digest of the plan: of what it runs, and what it says of other records."""
    causes: Mapping[str, CauseCount] = field(default_factory=dict)
    """Why the plan runs what it runs, and what it leaves out, by name of the cause; empty for a plan of an
    earlier release."""
    estimate: Estimate | None = None
    """What it is expected to take; only `plan` says so."""
    total: Receipt = field(default_factory=Receipt)
    """The sum of the receipts of all committed shards."""
    workers: Mapping[str, Usage] = field(default_factory=dict)
    """Where the time of this call went, by worker."""
    gpu_hour: float = 0.0
    """US dollars for an hour of one GPU, by the config."""
    wall: float = 0.0
    """Seconds from the start of this call to its end."""
    ended: RunEnd | None = None
    """Why this call ended early; None when it went on to the end of the plan."""
    busy: str = ""
    """Which other run is at work on the catalogue, if this one was not begun for that."""
    driver: str = ""
    """Who is at work on it, as far as a claim in its directory says so; only `status` looks."""

    @property
    def results(self) -> str:
        """Where the result files are; empty where there is no run."""
        return f"{self.run}/results" if self.run else ""

    @property
    def complete(self) -> bool:
        """Whether there is a plan (those of earlier releases have no digest), and all of it is committed."""
        return any((self.plan, self.planned, self.rejected, self.skipped)) and self.committed == self.planned

    @property
    def unread(self) -> int:
        """Committed records of which nothing is known, since their result files are damaged."""
        return max(0, self.committed - self.tally.records)

    @property
    def tally(self) -> Tally:
        """Counts of all committed records."""
        return self.total.tally

    @property
    def ok(self) -> int:
        """Committed records with status ok."""
        return self.tally.ok

    @property
    def unfinished(self) -> int:
        """Committed records with status unfinished."""
        return self.tally.unfinished

    @property
    def failed(self) -> int:
        """Committed records with status failed."""
        return self.tally.failed

    @property
    def steps(self) -> int:
        """Edits in their trajectories."""
        return self.tally.steps

    @property
    def resumed_steps(self) -> int:
        """Of those, restored from the step log instead of made again."""
        return self.tally.resumed_steps

    @property
    def errors(self) -> Mapping[str, int]:
        """Failed records by error kind."""
        return self.tally.errors

    @property
    def stops(self) -> Mapping[str, int]:
        """Records that did not fail, by stop reason."""
        return self.tally.stops

    @property
    def restarts(self) -> int:
        """Shards that had to be begun again because their worker died."""
        return self.total.restarts

    @property
    def retries(self) -> int:
        """Passing faults of image stores and endpoints that were waited out."""
        return self.tally.usage.retries + self.total.breakdown.retries

    @property
    def cost(self) -> float:
        """US dollars that endpoints charged, by `prices` of their models."""
        return self.tally.usage.cost

    @property
    def gpu_cost(self) -> float:
        """US dollars for the GPUs that workers held."""
        return self.total.breakdown["gpu"] / 3600 * self.gpu_hour

    @property
    def cost_per_accepted(self) -> float | None:
        """US dollars, GPUs and endpoints, for each record that is ok; None while there is none."""
        return (self.gpu_cost + self.cost) / self.ok if self.ok else None

    def plus(self, receipt: Receipt, records: int) -> RunSummary:
        """The summary with so many more records committed, and what their receipt says of them."""
        by = {receipt.worker: self.workers.get(receipt.worker, Usage()) + receipt.breakdown}
        return replace(
            self,
            committed=self.committed + records,
            total=self.total + receipt,
            workers=dict(self.workers) | (by if receipt.worker else {}),
        )


class Progress:
    """Watches a run. This one watches nothing; override what you want to be told of.

    The terminal's is in `report/progress.py`.
    """

    def planning(self, rows: int) -> None:
        """So many manifest rows are read."""

    def executing(self, summary: RunSummary) -> None:
        """Planning is over; this is what there is to do."""

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        """About once a second: the last that was heard of each live worker."""

    def committed(self, summary: RunSummary) -> None:
        """A shard more is committed."""

    def note(self, text: str) -> None:
        """Something people should read now: a run that stalls, a wait, an early end. From any thread."""
