"""What workers tell the driver, and the driver its user: counts and names, never images."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace

from mira_batch.core.spent import Span, Spent
from mira_batch.core.types import RunEnd, Seconds


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker tells the driver of a shard: counts, never images. Receipts can be added up."""

    shard: int = -1
    """Which; -1 for the sum of several."""
    records: int = 0
    ok: int = 0
    steps: int = 0
    resumed_steps: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Failed records by error kind."""
    stops: dict[str, int] = field(default_factory=dict)
    """Records that ended well, by stop reason."""
    seconds: Seconds = field(default_factory=Seconds)
    cost: float = 0.0
    """US dollars that endpoints charged."""
    written: int = 0
    """Bytes of the result file."""
    committed: bool = True
    """False: another worker had committed this shard, and these are its counts; our work was for nothing."""
    restarts: int = 0
    """Whether it was begun again because a worker died: 1, or 0."""
    retries: int = 0
    """Passing faults of the images' store and of endpoints that were waited out."""
    worker: str = ""
    """Who committed it: host and process."""
    spent: Spent = field(default_factory=Spent)
    """Where that worker's time went since its last commit."""
    spans: tuple[Span, ...] = ()
    """The same moment by moment, for a profile; not kept with the results."""

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            records=self.records + other.records,
            ok=self.ok + other.ok,
            steps=self.steps + other.steps,
            resumed_steps=self.resumed_steps + other.resumed_steps,
            errors=dict(Counter(self.errors) + Counter(other.errors)),
            stops=dict(Counter(self.stops) + Counter(other.stops)),
            seconds=self.seconds + other.seconds,
            cost=self.cost + other.cost,
            written=self.written + other.written,
            restarts=self.restarts + other.restarts,
            retries=self.retries + other.retries,
            spent=self.spent + other.spent,
        )

    def to_json(self) -> str:
        """All but the spans."""
        return json.dumps(asdict(replace(self, spans=())))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        data = json.loads(text)
        spent = Spent(**data.get("spent", {}))
        return cls(**data | {"seconds": Seconds(**data["seconds"]), "spent": spent, "spans": ()})


@dataclass(frozen=True, slots=True)
class Activity:
    """What a record is doing just now."""

    step: int
    """The step it is at, from 0."""
    doing: str
    """reading, policy, editor, judge, logging or writing."""
    seconds: float
    """For how long."""


@dataclass
class Pulse:
    """A worker's live figures, for progress between receipts."""

    finished: int = 0
    """Records that ended in shards not yet committed."""
    errors: dict[str, int] = field(default_factory=dict)
    """Of those the failed ones, by error kind."""
    steps: int = 0
    """Steps made since the worker started."""
    shards: int = 0
    """Shards in hand."""
    in_flight: dict[str, Activity] = field(default_factory=dict)
    """Records running now, by record_id."""
    out_of_memory: int = 0
    """How often a batch had to be made smaller since the worker started."""
    stopping: bool = False
    """Told to end: steps in hand are finished, nothing more is begun."""

    @property
    def idle(self) -> bool:
        """Nothing in hand and nothing more to come."""
        return self.stopping and not self.shards


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
    ok: int = 0
    """Committed records with status ok."""
    failed: int = 0
    """Committed records with status failed."""
    steps: int = 0
    """Edits in their trajectories."""
    resumed_steps: int = 0
    """Of those, restored from the step log instead of made again."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failed records by error kind."""
    stops: dict[str, int] = field(default_factory=dict)
    """Records that ended well, by stop reason."""
    written: int = 0
    """Bytes of result files."""
    shards: int = 0
    """Shards in the plan."""
    seconds: Seconds = field(default_factory=Seconds)
    """Where the records' time went, summed over records that ran side by side."""
    cost: float = 0.0
    """US dollars that endpoints charged, by `prices` of their models."""
    spent: Spent = field(default_factory=Spent)
    """Where the workers' time went."""
    workers: dict[str, Spent] = field(default_factory=dict)
    """The same of this call, by worker."""
    gpu_hour: float = 0.0
    """US dollars for an hour of one GPU, by the config."""
    restarts: int = 0
    """Shards that had to be begun again because their worker died."""
    retries: int = 0
    """Passing faults of the images' store and of endpoints that were waited out."""
    wall: float = 0.0
    """Seconds from the start of this call to its end."""
    ended: RunEnd | None = None
    """Why this call ended early; None when it went on to the end of the plan."""
    driver: str = ""
    """Who is at work on it, as far as a claim in its directory says so; only `status` looks."""

    @property
    def results(self) -> str:
        return f"{self.run}/results"

    @property
    def complete(self) -> bool:
        return self.committed == self.planned

    @property
    def gpu_cost(self) -> float:
        """US dollars for the GPUs that workers held."""
        return self.spent.gpu / 3600 * self.gpu_hour

    @property
    def cost_per_accepted(self) -> float | None:
        """US dollars, GPUs and endpoints, for each record that ended well; None while there is none."""
        return (self.gpu_cost + self.cost) / self.ok if self.ok else None

    def plus(self, receipt: Receipt, records: int) -> RunSummary:
        """The summary with so many more records committed, and what their receipt says of them."""
        by = {receipt.worker: self.workers.get(receipt.worker, Spent()) + receipt.spent}
        return replace(
            self,
            committed=self.committed + records,
            ok=self.ok + receipt.ok,
            failed=self.failed + receipt.records - receipt.ok,
            steps=self.steps + receipt.steps,
            resumed_steps=self.resumed_steps + receipt.resumed_steps,
            errors=dict(Counter(self.errors) + Counter(receipt.errors)),
            stops=dict(Counter(self.stops) + Counter(receipt.stops)),
            written=self.written + receipt.written,
            seconds=self.seconds + receipt.seconds,
            cost=self.cost + receipt.cost,
            restarts=self.restarts + receipt.restarts,
            retries=self.retries + receipt.retries,
            spent=self.spent + receipt.spent,
            workers=self.workers | (by if receipt.worker else {}),
        )


class Progress:
    """Watches a run. This one watches nothing; override what you want to be told of.

    The terminal's is in `report/progress.py`.
    """

    def planning(self, rows: int) -> None:
        """So many manifest rows are read."""

    def executing(self, summary: RunSummary) -> None:
        """Planning is over; this is what there is to do."""

    def beat(self, pulses: list[Pulse]) -> None:
        """About once a second: the last that was heard of each live worker."""

    def committed(self, summary: RunSummary) -> None:
        """A shard more is committed."""

    def note(self, text: str) -> None:
        """Something people should read now: a run that stalls, a wait, an early end."""
