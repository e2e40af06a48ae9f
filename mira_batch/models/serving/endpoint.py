"""Calls a served model for many records at once, with the patience that a network needs.

`Endpoint` stands where the micro-batcher stands for local models, and has the same surface. Nothing is
batched: each request is a call of its own, and a batching server puts those in flight together. Calls are
begun in the order of urgency (`limiter.py`). What a fault means is decided by the adapters
(`faults.py`); here is decided what follows:

    busy, broken        the call is made again, with back-off, its place given to others meanwhile
    request             fails this record
    settings            fails this record where others are answered, else ends the run
    key, quota          end the run, since every record would fail

A request whose calls keep breaking while others are answered is itself to blame, and fails. When nothing at
all is answered for `retry_seconds`, the endpoint is down, and that ends the run, which can be resumed. What
answers of no use were charged is booked with the request's outcome.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import ConfigError, EndpointError, RecordError, UserError, boundary
from mira_batch.core.ports import Priced, Timed
from mira_batch.core.types import ErrorKind
from mira_batch.core.usage import Usage
from mira_batch.models.serving.faults import EndpointFault, Meaning
from mira_batch.models.serving.limiter import Turns, backoff
from mira_batch.models.serving.microbatch import OnCall, Role

Q = TypeVar("Q")
R = TypeVar("R")

BLAME = 8
"""A request whose calls broke so often, while others were answered, is to blame for it."""
REFUSALS = 100
"""So many refusals for what may be a setting, and as many as may be in flight, without an answer between them
are the endpoint's: the model was withdrawn, or the key suspended."""


async def _nothing() -> None:
    return None


class Endpoint(Generic[Q, R]):
    """Awaitable access to a served model. Create it, await `submit` and `aclose` on one event loop."""

    def __init__(
        self,
        role: Role,
        call: Callable[[Q], Awaitable[Priced[Any]]],
        check: Callable[[Any], R],
        config: ServedConfig,
        limit_seconds: float | None = None,
        close_client: Callable[[], Awaitable[None]] = _nothing,
        first_backoff: float = 1.0,
    ) -> None:
        """
        Args:
            role: which model it is.
            call: one call of the endpoint, without retries of its own.
            check: turns what it answers into what the loop takes; runs in a thread.
            config: how many calls at once, how often, how patiently, and whom to name in errors.
            limit_seconds: a call that takes longer fails its record, where `config.timeout_seconds`, after
                which it is made again, is not shorter.
            close_client: awaited by `aclose` when no call is left.
            first_backoff: seconds of the first wait after a fault.
        """
        self._role = role
        self._call = call
        self._check = check
        self._config = config
        self._limit = limit_seconds
        self._close_client = close_client
        self._first_backoff = first_backoff
        self._turns = Turns(config.concurrency, config.requests_per_minute, first_backoff)
        self._tasks: set[asyncio.Task[Timed[R]]] = set()
        self._closed = False
        self._end: UserError | None = None
        """Why no call is made any more."""
        self._in_flight: set[asyncio.Future[None]] = set()
        """One for each call, until it ends."""
        self._works = False
        """Whether key, model, address and settings were right for any call so far."""
        self._refusals = 0
        """Faults of settings since the last call for which they were right."""
        self.last_answer = time.monotonic()
        """When the endpoint answered last."""
        self.on_call: OnCall = lambda *_: None
        """Told of each call when it has ended."""
        self.busy_seconds = 0.0
        """Seconds of answered calls, together."""
        self.wasted_seconds = 0.0
        """Seconds of calls that failed."""
        self.waiting_seconds = 0.0
        """Seconds that requests waited for the call that answered them to begin: for their turn, and through
        tries that failed."""
        self.calls = 0
        """Calls that were answered."""
        self.out_of_memory = 0
        self.retries = 0
        """Passing faults that were waited out."""

    async def submit(self, request: Q, priority: tuple[int, ...] = ()) -> Timed[R]:
        """The model's answer to one request, and what it cost. Cancelled when the endpoint is closed.

        Raises:
            RecordError: the endpoint refused this request, or failed on it again and again, or too slowly.
            ConfigError: the endpoint refuses every request: its key, model, address or a setting is wrong.
            EndpointError: the endpoint is down, or its quota is used up.
        """
        task = asyncio.ensure_future(self._served(request, priority))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closed:
            task.cancel()
        return await task

    def close(self) -> None:
        """Cancel the calls in flight and those that wait."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        self._turns.close()

    async def aclose(self) -> None:
        """`close`, wait for the end of the calls, and close the client's connections."""
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_client()

    async def _served(self, request: Q, priority: tuple[int, ...]) -> Timed[R]:
        since = time.perf_counter()
        patience = _Patience(self, self._config.retry_seconds, self._first_backoff)
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_passing),
            wait=patience.wait,
            stop=patience.is_over,
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            with boundary(self._role.failed):
                try:
                    priced, took = await retrying(self._try, request, priority, patience)
                except EndpointFault as fault:
                    raise await self._final(fault, patience) from None
                patience.spent += priced.cost
                value = await asyncio.to_thread(self._check, priced.value)
        except RecordError as error:
            error.cost += patience.spent
            raise
        waiting = max(0.0, time.perf_counter() - since - took)
        self.waiting_seconds += waiting
        return Timed(value, Usage({self._role.name: took, "waiting": waiting}, patience.spent))

    async def _try(self, request: Q, priority: tuple[int, ...], patience: _Patience) -> tuple[Any, float]:
        """One call, when its turn has come: what was answered, and the seconds it took."""
        async with self._turns.turn(priority) as began:
            if self._end is not None:
                raise type(self._end)(*self._end.args)
            ended = asyncio.get_running_loop().create_future()
            self._in_flight.add(ended)
            answered = 0
            try:
                priced = await self._timely(request)
                answered = 1
            except EndpointFault as fault:
                patience.met(fault, self.calls)
                self._refusals += fault.meaning is Meaning.settings
                if fault.meaning is Meaning.busy:
                    patience.pause = self._turns.too_busy(began, fault.retry_after)
                raise
            except RecordError as error:
                if error.kind is not ErrorKind.step_timeout:
                    self._well()  # it was the model that refused, or its answer is of no use
                raise
            finally:
                self._in_flight.discard(ended)
                ended.set_result(None)
                took = time.monotonic() - began
                self.wasted_seconds += 0.0 if answered else took
                now = time.perf_counter()
                self.on_call(self._role.name, now - took, now, answered)
            self.last_answer = time.monotonic()
            self._well()
            self.calls += 1
            self.busy_seconds += took
            self._turns.answered()
            return priced, took

    async def _timely(self, request: Q) -> Priced[Any]:
        """The call, cancelled when it takes too long."""
        limit, timeout = self._limit, self._config.timeout_seconds
        most = min(timeout, limit or timeout)
        clock = asyncio.timeout(most)
        try:
            async with clock:
                return await self._call(request)
        except TimeoutError:
            if not clock.expired():
                raise
        if limit is not None and limit <= timeout:
            words = f"one {self._role.name} call took longer than {limit:g} s"
            raise RecordError(ErrorKind.step_timeout, words)
        raise EndpointFault(Meaning.broken, f"no answer within {most:g} s (timeout_seconds)")

    def _well(self) -> None:
        self._works, self._refusals = True, 0

    def _count_retry(self, _: RetryCallState) -> None:
        self.retries += 1

    async def _answers_others(self) -> bool:
        """Whether a fault of settings may be this request's alone: others were answered, or are by the calls
        now in flight, and not too many of them refused since."""
        others = set(self._in_flight)
        while others and not self._works:
            _, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        return self._works and self._refusals <= REFUSALS + self._config.concurrency

    async def _final(self, fault: EndpointFault, patience: _Patience) -> RecordError | UserError:
        """What a fault comes to that is not retried, or not any more."""
        config = self._config
        name = f"{self._role.name} model {config.model} at {config.base_url or 'its vendor'}"
        key = f"the key in {config.api_key_env}" if config.api_key_env else "the key (api_key_env)"
        match fault.meaning:
            case Meaning.request:
                return RecordError(self._role.failed, str(fault))
            case Meaning.settings if await self._answers_others():
                return RecordError(self._role.failed, str(fault))
            case Meaning.settings | Meaning.key:
                self._end = ConfigError(
                    f"{name} refuses every call: {fault}. Check model, base_url and {key}, then "
                    "run the same command again"
                )
            case Meaning.quota:
                self._end = EndpointError(
                    f"{name}: the quota of {key} is used up: {fault}. Nothing is lost: raise the "
                    "quota or wait for the next period, then the same command goes on"
                )
            case _ if patience.to_blame(self.calls):
                words = f"{patience.broken} calls failed while others were answered; the last: {fault}"
                return RecordError(self._role.failed, words)
            case _:
                self._end = EndpointError(
                    f"{name} gave no answer for {config.retry_seconds:g} s (retry_seconds): {fault}. "
                    "Nothing is lost: when it is back, the same command goes on"
                )
        return self._end


class _Patience:
    """How long one request is tried again."""

    def __init__(self, endpoint: Endpoint[Any, Any], seconds: float, first_backoff: float) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._first = first_backoff
        self._since: float | None = None
        """When the first call failed."""
        self._answered = 0
        """Calls of others that were answered until then."""
        self._last: EndpointFault | None = None
        self.broken = 0
        """Calls that broke."""
        self.spent = 0.0
        """US dollars of all calls so far that were answered, to whatever use."""
        self.pause = 0.0
        """Seconds for which the endpoint takes no calls from anybody."""

    def met(self, fault: EndpointFault, answered: int) -> None:
        """A call failed; so many of others have been answered by now."""
        if self._since is None:
            self._since, self._answered = time.monotonic(), answered
        self._last = fault
        self.pause = 0.0
        self.broken += fault.meaning is Meaning.broken
        self.spent += fault.cost

    def wait(self, _: RetryCallState) -> float:
        """Seconds until the next try."""
        assert self._last is not None
        if self._last.meaning is Meaning.busy:
            return self.pause
        if self._last.retry_after is not None:
            return self._last.retry_after
        return backoff(self._first, self.broken)

    def is_over(self, state: RetryCallState) -> bool:
        """Whether no further try is made: the request is to blame, or the endpoint is down."""
        if self.to_blame(self._endpoint.calls):
            return True
        assert self._since is not None
        dead_for = time.monotonic() - max(self._since, self._endpoint.last_answer)
        return dead_for + state.upcoming_sleep >= self._seconds

    def to_blame(self, answered: int) -> bool:
        return self.broken >= BLAME and answered > self._answered


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, EndpointFault) and error.meaning in (Meaning.busy, Meaning.broken)
