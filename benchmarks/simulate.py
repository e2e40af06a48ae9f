"""What workers would do and when, worked out by discrete events: no model, thread, clock or sleep.

A worker's decisions are those of the product, by the same code: how a plan is cut (`choose_shard_size`),
which shards it holds and opens (`count_shards_in_hand`, `Places`), which records run
(`choose_records_in_flight`, `Places`), which requests share a call (`RequestQueue`) and in which order
(`rank_request`). What is assumed is said in `Setting`: how long everything takes. The answer has the form of
what a real run's models note, so that both are read by the same `Timeline`.

Two rules of the real worker's threads are kept: a replica that has ended a call takes its next batch before
its answers have reached anybody, and one that is idle wakes when all else that happens at that moment has
happened. tests/unit/benchmarks/test_simulate.py holds both against the real micro-batcher.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.timeline import Call, Timeline
from mira_batch.config.models.simulated import StepCounts
from mira_batch.config.shared import WorkersConfig
from mira_batch.edit.urgency import rank_request
from mira_batch.models.serving.batch_limits import BatchLimits
from mira_batch.models.serving.request_queue import RequestQueue
from mira_batch.models.simulated import step_count
from mira_batch.runtime.admission import Places, choose_records_in_flight
from mira_batch.runtime.pool import count_shards_in_hand
from mira_batch.storage.run.planfile import Shard
from mira_batch.storage.run.planwriter import choose_shard_size


@dataclass(frozen=True, slots=True)
class Model:
    """How long a call takes: `seconds + per_item * requests`."""

    seconds: float
    batch: int
    """Most requests in a call."""
    per_item: float = 0.0
    replicas: int = 1

    def time(self, requests: int) -> float:
        """Seconds of a call of so many requests."""
        return self.seconds + self.per_item * requests


@dataclass(frozen=True, slots=True)
class Setting:
    """What is assumed. All times are seconds."""

    policy: Model
    editor: Model
    records: int
    steps: StepCounts = StepCounts()
    """How many edits a record takes, by its name, as the simulated policy has it."""
    workers: WorkersConfig = WorkersConfig()
    read: float = 0.0
    """A record's image, before its first request."""
    log: float = 0.0
    """A step, between the editor's answer and the next request to the policy."""
    write: float = 0.0
    """A record's result, before it gives its place back."""
    commit: float = 0.0
    """A shard, before the worker takes another in its place."""
    spread: float = 0.5
    """Each of these four is drawn evenly from so much below to so much above it."""
    starts: tuple[float, ...] = (0.0,)
    """When each worker is up; the last one's holds for those that follow."""
    shapes: int = 1
    """Sizes of image, drawn evenly; an editor's call takes one of them."""
    seed: int = 0

    @property
    def in_flight(self) -> int:
        """Records that a worker runs at once."""
        together = sum(model.batch * model.replicas for model in (self.policy, self.editor))
        return choose_records_in_flight(self.workers.records_in_flight, together)


Watch = Callable[[str, str, Sequence[str]], None]
"""Told that a call of "policy" or "editor" begins or ends ("begin", "end") and of which records; and that a
shard of these is committed ("end", "commit")."""


def simulate(setting: Setting, watch: Watch = lambda event, role, records: None) -> Timeline:
    """Work a run out to its end, as its models would have noted it. It begins at 0.

    Args:
        setting: what is assumed.
        watch: told of each call, in order.
    """
    return _Run(setting, watch).run()


@dataclass(slots=True)
class _Record:
    name: str
    shard: _Shard
    edits: int
    shape: int
    made: int = 0


@dataclass(slots=True)
class _Shard:
    number: int
    records: list[_Record] = field(default_factory=list)
    left: int = 0


class _Run:
    """The clock, the shards, and the workers that take them."""

    def __init__(self, setting: Setting, watch: Watch) -> None:
        self.setting = setting
        self.watch = watch
        self.now = 0.0
        self.random = random.Random(setting.seed)
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.shards = deque(cut_plan(setting))
        self.commits: list[tuple[float, int]] = []
        sizes = [Shard(shard.number, "", 0, len(shard.records)) for shard in self.shards]
        self.in_hand = count_shards_in_hand(setting.workers, sizes)
        self.workers = [_Worker(self, number) for number in range(setting.workers.most)]
        starts = setting.starts
        for worker in self.workers:
            self.after(starts[min(worker.number, len(starts) - 1)], worker.take_shards)

    def after(self, seconds: float, happens: Callable[[], None], last: bool = False) -> None:
        """Have something happen; `last`: after all else that happens at that moment."""
        heapq.heappush(self._events, (self.now + seconds, int(last), next(self._order), happens))

    def after_about(self, seconds: float, happens: Callable[[], None]) -> None:
        """The same, after a time drawn about this one."""
        spread = self.setting.spread
        self.after(seconds * self.random.uniform(1 - spread, 1 + spread) if seconds else 0.0, happens)

    def run(self) -> Timeline:
        while self._events:
            self.now, _, _, happens = heapq.heappop(self._events)
            happens()
        edits, proposals = (
            sorted(
                (call for worker in self.workers for call in worker.models[role].calls), key=lambda c: c.end
            )
            for role in ("editor", "policy")
        )
        editor = self.setting.editor
        return Timeline(
            self.setting.workers.most * editor.replicas,
            editor.batch,
            editor.time(editor.batch),
            tuple(edits),
            tuple(proposals),
            tuple(self.commits),
            0.0,
            self.now,
        )

    def commit(self, shard: _Shard) -> None:
        """The driver learns that a shard is done."""
        self.watch("end", "commit", [record.name for record in shard.records])
        before = self.commits[-1][1] if self.commits else 0
        self.commits.append((self.now, before + len(shard.records)))


class _Worker:
    """One process: shards in hand, records in flight, and its models."""

    def __init__(self, run: _Run, number: int) -> None:
        setting = run.setting
        self.number = number
        self._run = run
        self._in_hand = 0
        in_flight = setting.in_flight
        self._places: Places[_Record] = Places(in_flight)
        self._hand: Places[_Shard] = Places(2 * in_flight, overdraw=True)
        self.models = {
            "policy": _Server(run, "policy", setting.policy, number, self._answer_policy),
            "editor": _Server(run, "editor", setting.editor, number, self._answer_edit),
        }

    def take_shards(self) -> None:
        """Get as many as a worker may have, and open those whose records are about to be needed."""
        while self._in_hand < self._run.in_hand and self._run.shards:
            shard = self._run.shards.popleft()
            self._in_hand += 1
            self._hand.ask((shard.number,), len(shard.records), shard)
        self._open_shards()

    def _open_shards(self) -> None:
        for shard in self._hand.admit(lambda shard: False):
            for record in shard.records:
                self._places.ask((True, shard.number), 1, record)
        self._admit()

    def _admit(self) -> None:
        for record in self._places.admit(lambda record: False):
            self._run.after_about(self._run.setting.read, partial(self._ask_policy, record))

    def _ask_policy(self, record: _Record) -> None:
        urgency = rank_request(record.shard.number, record.made)
        self.models["policy"].submit(urgency, None, record, fresh=not record.made)

    def _answer_policy(self, record: _Record) -> None:
        if record.made == record.edits:
            self._run.after_about(self._run.setting.write, partial(self._end, record))
            return
        urgency = rank_request(record.shard.number, record.made)
        self.models["editor"].submit(urgency, record.shape, record)

    def _answer_edit(self, record: _Record) -> None:
        record.made += 1
        self._run.after_about(self._run.setting.log, partial(self._ask_policy, record))

    def _end(self, record: _Record) -> None:
        self._hand.leave(1)
        self._places.leave(1)
        record.shard.left -= 1
        if not record.shard.left:
            self._run.after_about(self._run.setting.commit, partial(self._commit, record.shard))
        self._open_shards()

    def _commit(self, shard: _Shard) -> None:
        self._run.commit(shard)
        self._in_hand -= 1
        self.take_shards()


@dataclass(frozen=True, slots=True)
class _Request:
    record: _Record
    fresh: bool


class _Server:
    """A model of a worker behind its micro-batcher."""

    def __init__(
        self, run: _Run, role: str, model: Model, worker: int, answer: Callable[[_Record], None]
    ) -> None:
        self.calls: list[Call] = []
        self._run = run
        self._role = role
        self._model = model
        self._answer = answer
        self._queue: RequestQueue[_Request] = RequestQueue(BatchLimits(model.batch))
        self._idle = [worker * model.replicas + replica for replica in range(model.replicas)]
        self._wake_due = False

    def submit(
        self, urgency: tuple[int, ...], bucket: Hashable, record: _Record, fresh: bool = False
    ) -> None:
        """A request comes in."""
        self._queue.put(urgency, bucket, _Request(record, fresh))
        if not self._wake_due:
            self._wake_due = True
            self._run.after(0.0, self._wake, last=True)

    def _wake(self) -> None:
        self._wake_due = False
        while self._idle and len(self._queue):
            self._begin(self._idle.pop(0))

    def _begin(self, replica: int) -> None:
        batch = self._queue.take(lambda request: False)
        if not batch:
            self._idle.append(replica)
            return
        self._run.watch("begin", self._role, [request.record.name for request in batch])
        self._run.after(self._model.time(len(batch)), partial(self._end, replica, self._run.now, batch))

    def _end(self, replica: int, begun: float, batch: Sequence[_Request]) -> None:
        fresh = sum(request.fresh for request in batch)
        self.calls.append(Call(replica, begun, self._run.now, len(batch), fresh))
        self._run.watch("end", self._role, [request.record.name for request in batch])
        self._begin(replica)
        for request in batch:
            self._answer(request.record)


def cut_plan(setting: Setting) -> list[_Shard]:
    """The plan of so many records, cut into shards."""
    draw, shards = random.Random(setting.seed), list[_Shard]()
    made, workers = 0, setting.workers
    while made < setting.records:
        size = choose_shard_size(setting.records - made, workers.shard_size, workers.most)
        shard = _Shard(len(shards), left=size)
        for number in range(made, made + size):
            name = f"rec-{number:06d}"
            edits = step_count(name, setting.steps)
            shard.records.append(_Record(name, shard, edits, draw.randrange(setting.shapes)))
        shards.append(shard)
        made += size
    return shards
