"""Hands shards to workers on Ray and takes back what came of them, in a thread of the driver's."""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError

from mira_batch.core.receipts import Receipt
from mira_batch.runtime.admission import MOST
from mira_batch.runtime.backends.actors import PackedJob, ShardActor
from mira_batch.runtime.backends.errors import unpack_error
from mira_batch.runtime.ledger import from_json
from mira_batch.runtime.pool import FEWEST_SHARDS, Assignment, Pool, count_shards_in_hand
from mira_batch.storage.run.planfile import Shard

_ENDING = 6.0
"""Most seconds to wait for the thread when the pool is closed."""
_SOON = 60.0
"""Seconds within which a worker that was asked for is taken to be coming, where the first took no longer."""


@dataclass(eq=False)
class _Worker:
    """An actor, and what it has in hand."""

    actor: Any
    in_flight: int = 0
    """Records that it runs at once; 0: it is not open yet."""
    shards: int = 0
    records: int = 0
    """Of these shards, those included that have ended."""


@dataclass(frozen=True)
class _Answer:
    """A call of a worker's has returned."""

    worker: _Worker
    shard: Shard | None
    """None: it is open for shards."""
    future: Any


class ShardHands:
    """The actors of a pool, and who has which shards.

    The pool begins with `workers.min`. As soon as one of them has opened the job it asks for as many as there
    are shards for, up to `workers.max`, so that a model that can't be loaded is found before a cluster grows
    for it. A worker gets shards once it is open: none waits in the queue of an actor that no node has room
    for, and nothing is left to one that doesn't come. It gets more than `count_shards_in_hand` where these
    hold too few records to keep it busy, as at the end, when shards have a record each; but, beyond the
    fewest, no more than its share of the records that haven't returned, so that the first to be open leave
    something to the others. Where an actor's process dies Ray starts it again, and repeats the calls that it
    had in hand. A worker with nothing in hand, when no shard is left, is let go, and its GPU with it.
    """

    def __init__(self, work: Assignment, board: Any, pool: Pool, explain: Callable[[Exception], Exception]):
        """
        Args:
            work: what is to be done.
            board: the handle of a `Board`.
            pool: gets the receipts, and the errors.
            explain: says of what Ray raised why the pool can't go on.
        """
        self._work = work
        self._board = board
        self._pool = pool
        self._explain = explain
        self._left = deque(work.shards)
        self._records = sum(shard.records for shard in work.shards)
        """Of shards that haven't returned."""
        self._each = count_shards_in_hand(work.job.config.workers, work.shards)
        workers = work.job.config.workers
        wanted = max(workers.min, math.ceil(len(work.shards) / self._each))
        self._most = min(wanted, workers.most, len(work.shards))
        self._workers: set[_Worker] = set()
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._returned = 0
        self._began = time.monotonic()
        self._coming_until = math.inf
        """Until when those that were asked for and aren't open are taken to be coming."""
        self._closed = False
        self._thread = threading.Thread(target=self._feed, name="shards", daemon=True)

    def start(self) -> None:
        """Start the first workers, and from then on feed those that there are."""
        self._thread.start()

    def close(self, lost: bool) -> None:
        """End the workers that there are, in the middle of their work: a call that ends early has some.

        Args:
            lost: Ray is gone, and they with it.
        """
        self._closed = True
        self._answers.put(None)
        self._thread.join(_ENDING)  # it must be over before the next Ray starts, or it would go on with that
        for worker in () if lost else list(self._workers):
            with suppress(RayError):
                ray.kill(worker.actor)
        self._workers.clear()

    def _feed(self) -> None:
        try:
            self._start_workers(min(self._work.job.config.workers.min, self._most))
            while self._returned < len(self._work.shards) and not self._closed:
                self._take_answer()
            if not self._closed:
                self._pool.answers.put(None)
        except Exception as error:  # the thread's boundary: Ray raises what it likes
            self._pool.answers.put(self._explain(error))

    def _take_answer(self) -> None:
        """Wait for the next answer, pass it on, and hand its worker more. A call of its own, since whoever
        holds an answer holds its worker, too, and Ray ends no actor that somebody holds."""
        answer = self._answers.get()
        if answer is None or answer.worker not in self._workers:  # it was let go before it was open
            return
        found, worker = answer.future.result(), answer.worker
        if "error" in found:  # the run ends
            self._pool.answers.put(unpack_error(found))
            return
        if answer.shard is None:
            worker.in_flight = int(found["in_flight"])
            now = time.monotonic()
            self._coming_until = min(self._coming_until, now + max(_SOON, 2 * (now - self._began)))
            self._start_workers(self._most)
        else:
            worker.shards -= 1
            worker.records -= answer.shard.records
            self._records -= answer.shard.records
            self._returned += 1
            self._deliver(found)
        self._hand_to(worker)

    def _start_workers(self, most: int) -> None:
        """Have so many, but none once all shards are handed out."""
        if not self._left or len(self._workers) >= most:  # as at nearly every call
            return
        work, workers = self._work, self._work.job.config.workers
        actor: Any = ShardActor
        options = actor.options(
            num_cpus=workers.cpus,
            num_gpus=workers.gpus or None,
            runtime_env=workers.runtime_env or None,
            max_concurrency=max(self._each, workers.records_in_flight or MOST),
            scheduling_strategy="SPREAD",
        )
        job = PackedJob.pack(work.job)  # no reference: Ray starts actors again long after this has returned
        while len(self._workers) < most:
            worker = _Worker(options.remote(job, work.run, work.session, self._board, work.profile))
            self._workers.add(worker)
            self._await(worker, None, worker.actor.open.remote())

    def _hand_to(self, worker: _Worker) -> None:
        are_coming = time.monotonic() < self._coming_until
        share = self._records / sum(1 for each in self._workers if each.in_flight or are_coming)
        while self._left and (
            worker.shards < FEWEST_SHARDS
            or (worker.records < share and (worker.shards < self._each or worker.records < worker.in_flight))
        ):
            shard = self._left.popleft()
            worker.shards += 1
            worker.records += shard.records
            self._await(worker, shard, worker.actor.run.remote(asdict(shard)))
        for worker in [] if self._left else [each for each in self._workers if not each.shards]:
            self._workers.remove(worker)  # Ray ends an actor that nobody knows any more
            if not worker.in_flight:  # its first call still knows it
                ray.kill(worker.actor)

    def _await(self, worker: _Worker, shard: Shard | None, reference: Any) -> None:
        reference.future().add_done_callback(lambda future: self._answers.put(_Answer(worker, shard, future)))

    def _deliver(self, found: dict[str, str]) -> None:
        if found:  # else the run ends before the shard does
            receipt: Receipt = from_json(json.loads(found["receipt"]))
            spans = tuple(map(tuple, json.loads(found["spans"])))
            self._pool.answers.put(replace(receipt, spans=spans))
