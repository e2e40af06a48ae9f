"""What a driver sees of its workers, whatever they run on: answers, heartbeats, and a way to end them."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mira_batch.config.shared import WorkersConfig
from mira_batch.core.receipts import Receipt, WorkerStatus
from mira_batch.runtime.admission import FEWEST, MOST
from mira_batch.runtime.job import Job
from mira_batch.storage.run.planfile import Shard

FEWEST_SHARDS = 4
"""That a worker has in hand, while some are left."""


@dataclass(frozen=True)
class Assignment:
    """What the workers of a pool are to do."""

    job: Job
    """What to do with each record."""
    run: str
    """The run's directory."""
    session: str
    """Names this call of the driver, in hex digits; see `attempts.py`."""
    shards: Sequence[Shard]
    """Those to run."""
    note: Callable[[str], None]
    """Told what people should read now, maybe from a thread of the backend's."""
    profile: bool = False
    """Whether workers send spans with their receipts."""


@dataclass
class Pool:
    """Workers at work on a list of shards. Filled by threads of the backend, read by the driver."""

    answers: queue.SimpleQueue[Receipt | BaseException | None] = field(default_factory=queue.SimpleQueue)
    """Receipts; an error ends the run, None says that every call has returned."""
    statuses: list[WorkerStatus] = field(default_factory=list)
    """The last that was heard of each live worker."""
    stopping: bool = False
    """Set by `stop`."""
    tell: Callable[[], None] = lambda: None
    """Tells workers that are within reach; others hear it in the answer to their next status."""
    told: bool = False
    """Whether `statuses` were collected after that, so that who is missing among them will begin nothing."""
    ended: bool = False
    """Every call has returned."""
    on_receipt: Callable[[Receipt], None] = lambda _: None
    """Told of each receipt."""

    def receive(self, seconds: float) -> Receipt | None:
        """The next receipt, waiting for it at most so long.

        Raises:
            UserError: what a worker could not go on with.
            MiraError: the pool is gone.
        """
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            self.ended = True
        else:
            self.on_receipt(answer)
        return answer

    def stop(self) -> None:
        """End the workers in order: they hear it within a second, finish their steps and begin no more."""
        self.stopping = True
        self.tell()

    @property
    def idle(self) -> bool:
        """Whether no worker has a step left to finish."""
        return self.told and all(status.idle for status in self.statuses)


def count_shards_in_hand(workers: WorkersConfig, shards: Sequence[Shard]) -> int:
    """How many shards are handed to a worker at once. It opens them as their records are about to be needed.

    Enough whole shards for twice the records in flight, so that a shard's last records don't idle the
    models, and at least four. More would let the first workers hoard shards that the others then lack. A
    worker that has no others beside it gets half as many as it has records in flight, or eight: each of four
    small shards would soon wait for its longest record, while those that follow lie in the plan.
    """
    alone = workers.most == 1
    in_flight = workers.records_in_flight or (MOST if alone else FEWEST)
    largest = max(shard.records for shard in shards)
    return max(
        8 if alone else FEWEST_SHARDS, in_flight // 2 if alone else 0, math.ceil(2 * in_flight / largest)
    )
