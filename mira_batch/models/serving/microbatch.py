"""Feeds a model with whatever waits, from many records at once.

Each replica of a model has a thread of its own. A free replica takes the most urgent request and every
other waiting request of the same bucket, up to the batch limit (`request_queue.py` says when another bucket
goes first), and never waits for a batch to fill: a slow record can't hold up a fast one. Requests are ordered
by `priority` (the worker gives the oldest shard's deepest record the smallest).

When a call raises, the batch is cut into halves until the request to blame is alone; only that one fails.
A call that runs out of memory is cut the same way, and what fits is remembered for its bucket
(`batch_limits.py`), unless a request of it does not even fit alone: then that one was the cause. Its record
fails for it only where the model has not answered any call of this process: else memory may have leaked, and
the process leaves, so that the record is tried in a fresh one.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mira_batch.core.errors import EngineDead, RecordError, boundary, describe
from mira_batch.core.ports import Timed
from mira_batch.core.types import ErrorKind
from mira_batch.core.usage import Usage
from mira_batch.models.serving.batch_limits import BatchLimits, CallsInProgress
from mira_batch.models.serving.client import OnCall, ignore_call
from mira_batch.models.serving.outcome import (
    Call,
    Outcome,
    call_model,
    free_memory,
    is_engine_dead,
    is_out_of_memory,
)
from mira_batch.models.serving.request_queue import RequestQueue
from mira_batch.models.serving.roles import Role

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(slots=True)
class _Waiting(Generic[Q]):
    request: Q
    bucket: Hashable
    future: asyncio.Future[Any]
    since: float


class MicroBatcher(Generic[Q, R]):
    """A `ModelClient` of a model in this process, in one or more replicas."""

    def __init__(
        self,
        role: Role,
        replicas: Sequence[Call[Q, Any]],
        bucket: Callable[[Q], Hashable],
        max_batch: int,
        limit_seconds: float | None = None,
        in_progress: CallsInProgress | None = None,
        turns: Sequence[AbstractContextManager[Any]] = (),
    ) -> None:
        """Start a thread for each replica.

        Args:
            role: what the model is; its `check` makes what `submit` returns of an answer.
            replicas: the call of each copy of the model.
            bucket: requests share a batch only if their buckets are equal.
            max_batch: the most requests in a call.
            limit_seconds: a call that takes longer is hung; None waits for ever.
            in_progress: shared with the other models of the process, whose calls may have the memory that one
                lacks.
            turns: what each replica holds while it calls, where other models use the same weights. Waited for
                before a batch is taken, so that the batch grows and the call's seconds are its own.
        """
        self.role = role
        self._limit = limit_seconds
        self._running: dict[int, tuple[float, list[_Waiting[Q]]]] = {}
        self._bucket = bucket
        self._limits = BatchLimits(max_batch)
        self._in_progress = in_progress or CallsInProgress()
        self._waiting: RequestQueue[_Waiting[Q]] = RequestQueue(self._limits)
        self._ready = threading.Condition()
        self._closed = False
        self._wake_due = False
        self._loop = asyncio.get_running_loop()
        self._checking = (
            ThreadPoolExecutor(len(replicas), f"{role.name}-finish") if role.check_apart else None
        )
        self.on_call: OnCall = ignore_call
        """Told of each call when it has ended, from its thread."""
        self.usage = Usage()
        """What all calls took so far; see `ModelClient.usage`."""
        self.out_of_memory = 0
        """Calls that ran out of memory."""
        self._fresh = True
        """Whether no call has been answered yet."""
        self._threads = [
            threading.Thread(target=self._serve, args=(call, turn), name=f"{role.name}-{i}", daemon=True)
            for i, (call, turn) in enumerate(
                zip(replicas, turns or itertools.repeat(nullcontext()), strict=False)
            )
        ]
        for thread in self._threads:
            thread.start()
        self._watch = self._loop.create_task(self._watch_calls()) if limit_seconds else None

    async def submit(self, request: Q, priority: tuple[int, ...] = ()) -> Timed[R]:
        """The model's answer to one request; see `ModelClient.submit`.

        Raises:
            RecordError: the model failed on this request, alone in its batch.
            EngineDead: the model can't go on.
        """
        future: asyncio.Future[Timed[R]] = self._loop.create_future()
        with boundary(self.role.failed):
            try:
                bucket = self._bucket(request)
                hash(bucket)  # what can't be hashed, like an array, can't be compared either
                bool(bucket == bucket)  # nor does a replica's thread survive one whose comparison raises
            except asyncio.CancelledError as error:  # nothing is awaited here: it is the model's own
                raise RecordError(self.role.failed, describe(error)) from error
        item = _Waiting(request, bucket, future, time.perf_counter())
        with self._ready:
            if self._closed:
                future.cancel()
            self._waiting.put(priority, bucket, item)
        if not self._wake_due:
            # Wake a replica only when every coroutine that can run now has run: answers of one batch
            # resolve together, so the requests that follow from them reach the next model together.
            self._wake_due = True
            self._loop.call_soon(self._wake)
        return await future

    async def close(self) -> None:
        """Let the threads end after the call they are in, which isn't waited for. Requests that wait are
        cancelled."""
        if self._watch is not None:
            self._watch.cancel()
        with self._ready:
            self._closed = True
            for item in self._waiting.clear():
                item.future.cancel()
            self._ready.notify_all()
        if self._checking is not None:
            self._checking.shutdown(wait=False)

    def _wake(self) -> None:
        self._wake_due = False
        with self._ready:
            self._ready.notify_all()

    def _serve(self, call: Call[Q, Any], turn: AbstractContextManager[Any]) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
            with turn:
                self._serve_batch(call)

    def _serve_batch(self, call: Call[Q, Any]) -> None:
        with self._ready:
            batch = self._waiting.take(lambda item: item.future.cancelled())
        if not batch:  # another replica was quicker
            return
        try:
            self._run(call, batch)
        except BaseException as error:  # it would end the thread, and nobody would ever be answered
            self._give_up(batch, error)

    def _run(self, call: Call[Q, Any], batch: list[_Waiting[Q]]) -> bool:
        """Call the model and hand out its answers; on a fault, cut the batch to find whose it is.

        Returns whether a request ran out of memory alone: then the batch's size was not the cause.
        """
        bucket, size = batch[0].bucket, len(batch)
        with self._ready:
            fits = self._limits.limit(bucket)
        if size > fits:  # learned since the batch was taken
            return self._run_pieces(call, batch, fits)
        outcome = self._call(call, batch)
        if outcome.ran_out and outcome.met_others and size == 1:
            # The others may have had the memory, and no request fails on account of others.
            outcome = self._call(call, batch, alone=True)
        if outcome.answers is not None:
            self._answer(batch, outcome.answers, outcome)
            return outcome.ran_out
        too_large_alone = self._run_pieces(call, batch, size // 2)
        if outcome.ran_out and not too_large_alone:
            with self._ready:
                self._limits.record_out_of_memory(bucket, size)
        return too_large_alone

    def _run_pieces(self, call: Call[Q, Any], batch: list[_Waiting[Q]], size: int) -> bool:
        found = [self._run(call, batch[at : at + size]) for at in range(0, len(batch), size)]
        return any(found)

    def _call(self, call: Call[Q, Any], batch: list[_Waiting[Q]], alone: bool = False) -> Outcome[Any]:
        """One call of the model, watched. `alone` waits until no other call is in progress."""
        me = threading.get_ident()
        with self._in_progress.enter(alone) as met_others:
            started = time.perf_counter()
            self._running[me] = (started, batch)
            outcome = call_model(call, [item.request for item in batch])
            self._running.pop(me, None)
            outcome.seconds = time.perf_counter() - started
            outcome.met_others = met_others()
        self._book(started, outcome, batch)
        if outcome.ran_out:
            free_memory()
        return outcome

    def _book(self, started: float, outcome: Outcome[Any], batch: list[_Waiting[Q]]) -> None:
        answered = sum(not isinstance(answer, Exception) for answer in outcome.answers or ())
        name = self.role.name
        if answered:
            waited = sum(started - item.since for item in batch)
            took = Usage({name: outcome.seconds, f"{name}_waiting": waited})
        else:
            took = Usage({"retried": outcome.seconds})
        with self._ready:  # replicas count together
            self._fresh = self._fresh and not answered
            self.out_of_memory += outcome.ran_out
            self.usage += took
        self.on_call(threading.current_thread().name, started, started + outcome.seconds, answered)

    def _answer(
        self, batch: list[_Waiting[Q]], answers: Sequence[Any | Exception], outcome: Outcome[Any]
    ) -> None:
        if not outcome.ran_out:
            with self._ready:
                self._limits.record_fit(batch[0].bucket, len(batch))
        if self._checking is None:
            self._check(batch, answers, outcome.seconds)
        else:
            with suppress(RuntimeError):  # it is closed: nobody waits for the answers
                self._checking.submit(self._check, batch, answers, outcome.seconds)

    def _check(self, batch: list[_Waiting[Q]], answers: Sequence[Any], seconds: float) -> None:
        checked: list[R | Exception] = []
        for answer in answers:
            try:
                checked.append(answer if isinstance(answer, Exception) else self.role.check(answer))
            except Exception as error:  # the boundary of what a model gives, as of what it raises
                checked.append(error)
            except BaseException as error:
                checked.append(RecordError(self.role.failed, describe(error)))
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hand_out, batch, checked, seconds)

    def _give_up(self, batch: list[_Waiting[Q]], error: BaseException) -> None:
        """Answer all that are not answered yet: what was raised is no fault of theirs."""
        dead = EngineDead(f"the {self.role.name}'s thread failed: {describe(error)}")
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hand_out, batch, [dead] * len(batch), 0.0)

    async def _watch_calls(self) -> None:
        """Give up on calls that are over their time. Their thread can't be stopped; the process must go."""
        assert self._limit is not None
        while True:
            await asyncio.sleep(min(1.0, self._limit / 4))
            for started, batch in list(self._running.values()):
                if time.perf_counter() - started > self._limit:
                    names = f"{len(batch)} request{'s' if len(batch) > 1 else ''}"
                    error = EngineDead(
                        f"one {self.role.name} call of {names} took longer than {self._limit:g} s",
                        ErrorKind.step_timeout,
                    )
                    for item in batch:
                        if not item.future.done():
                            item.future.set_exception(error)

    def _hand_out(self, batch: list[_Waiting[Q]], answers: Sequence[R | Exception], seconds: float) -> None:
        now, share = time.perf_counter(), seconds / len(batch)
        for item, answer in zip(batch, answers, strict=True):
            if item.future.done():
                continue
            if isinstance(answer, Exception):
                item.future.set_exception(self._classify(answer))
            else:
                waiting = max(0.0, now - item.since - share)
                usage = Usage({self.role.name: share, "waiting": waiting})
                item.future.set_result(Timed(answer, usage))

    def _classify(self, error: Exception) -> Exception:
        """Foreign errors become the record's failure; this is the models' boundary."""
        if isinstance(error, RecordError | EngineDead):
            return error
        if is_engine_dead(error):
            return EngineDead(describe(error))
        kind, words = self.role.failed, describe(error)
        if is_out_of_memory(error):
            if not self._fresh:
                return EngineDead(
                    f"the {self.role.name} ran out of memory with one request alone, in a process that has "
                    f"answered others: a fresh one shows whether it is too large or memory leaks ({words})",
                    suspicion=self.role.out_of_memory,
                )
            kind = self.role.out_of_memory
        wrapped = RecordError(kind, words)
        wrapped.__cause__ = error
        return wrapped
