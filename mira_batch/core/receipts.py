"""What workers tell the driver, and the driver its user: counts and names, never images."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from mira_batch.core.types import Seconds


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker tells the driver of a shard: counts, never images."""

    shard: int
    records: int = 0
    ok: int = 0
    steps: int = 0
    resumed_steps: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Failed records by error kind."""
    stops: dict[str, int] = field(default_factory=dict)
    """Records that ended well, by stop reason."""
    seconds: Seconds = field(default_factory=Seconds)
    written: int = 0
    """Bytes of the result file."""
    committed: bool = True
    """False: another worker had committed this shard; our work, if any, was for nothing."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        data = json.loads(text)
        return cls(**data | {"seconds": Seconds(**data["seconds"])})


@dataclass
class Pulse:
    """A worker's live figures, for progress between receipts."""

    finished: int = 0
    """Records that ended in shards not yet committed."""
    steps: int = 0
    """Steps made since the worker started."""
    in_flight: dict[str, int] = field(default_factory=dict)
    """Records running now, and the step each is at."""


@dataclass(frozen=True)
class RunSummary:
    """What a run did, in this call and in all."""

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
    """Records of this call with status ok."""
    failed: int = 0
    """Records of this call with status failed."""
    steps: int = 0
    """Edits in the trajectories of this call's records."""
    resumed_steps: int = 0
    """Of those, restored from the step log instead of made again."""
    errors: dict[str, int] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    written: int = 0
    """Bytes of result files."""
    shards: int = 0
    """Shards in the plan."""
    seconds: Seconds = field(default_factory=Seconds)
    """Where the records' time went, summed over records that ran side by side."""
    wall: float = 0.0
    """Seconds from the start of this call to its end."""

    @property
    def results(self) -> str:
        return f"{self.run}/results"

    @property
    def complete(self) -> bool:
        return self.committed == self.planned

    def plus(self, receipt: Receipt, records: int) -> RunSummary:
        """The summary with one more shard committed."""
        if not receipt.committed:  # another driver's worker had it; its records are there all the same
            return replace(self, committed=self.committed + records, already=self.already + records)
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
        )


class Progress(Protocol):
    """Watches a run. The terminal's is in `report/progress.py`."""

    def planning(self, rows: int) -> None: ...
    def executing(self, summary: RunSummary) -> None: ...
    def beat(self, pulses: list[Pulse]) -> None: ...
    def committed(self, summary: RunSummary) -> None: ...
