"""Calls a served model for many records at once, with the patience that a network needs.

`Endpoint` stands where the micro-batcher stands for local models; both are a `ModelClient`. Nothing is
batched: each request is a call of its own, and a batching server puts those in flight together. Calls are
begun in the order of urgency (`limiter.py`). What a fault means is decided by the adapters
(`faults.py`); here is decided what follows:

    busy, gateway, broken    the call is made again, with back-off, its slot given to others meanwhile
    request                  fails this record
    settings                 fails this record where others are answered, else ends the run
    key, quota               end the run, since every record would fail

A request whose calls keep breaking while others are answered is itself to blame, and fails; so is one that a
gateway gives up for `retry_seconds`, others being answered all the while. When nothing at all is answered for
`retry_seconds`, the endpoint is down, and that ends the run, which can be resumed. What answers of no use
were charged is booked with the request's outcome.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import ConfigError, EndpointError, RecordError, UserError, boundary
from mira_batch.core.ports import Priced, Timed
from mira_batch.core.types import ErrorKind
from mira_batch.core.usage import Usage
from mira_batch.models.serving.client import OnCall, ignore_call
from mira_batch.models.serving.faults import EndpointFault, Meaning
from mira_batch.models.serving.limiter import BUSY_DOUBLINGS, ConcurrencyLimiter, draw_backoff
from mira_batch.models.serving.roles import Role

if TYPE_CHECKING:
    from tenacity import RetryCallState

Q = TypeVar("Q")
R = TypeVar("R")

BLAME = 8
"""A request whose calls broke so often, while others were answered, is to blame for it."""
_BUSY = (Meaning.busy, Meaning.gateway)
"""Everybody should wait."""
REFUSALS = 100
"""So many refusals for what may be a setting, and as many as may be in flight, without an answer between them
are the endpoint's: the model was withdrawn, or the key suspended."""


async def _close_nothing() -> None:
    return None


class Endpoint(Generic[Q, R]):
    """A `ModelClient` of a served model."""

    def __init__(
        self,
        role: Role,
        call: Callable[[Q], Awaitable[Priced[Any]]],
        config: ServedConfig,
        limit_seconds: float | None = None,
        close_client: Callable[[], Awaitable[None]] = _close_nothing,
        first_backoff: float = 1.0,
    ) -> None:
        """
        Args:
            role: what the model is; its `check` runs in a thread.
            call: one call of the endpoint, without retries of its own.
            config: how many calls at once, how often, how patiently, and whom to name in errors.
            limit_seconds: a call that takes longer fails its record, where `config.timeout_seconds`, after
                which it is made again, is not shorter.
            close_client: awaited by `close` when no call is left.
            first_backoff: seconds of the first wait after a fault.
        """
        self.role = role
        self._call = call
        self._config = config
        self._limit = limit_seconds
        self._close_client = close_client
        self._first_backoff = first_backoff
        self._limiter = ConcurrencyLimiter(config.concurrency, config.requests_per_minute, first_backoff)
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
        self.on_call: OnCall = ignore_call
        """Told of each call when it has ended, on the event loop."""
        self.usage = Usage()
        """What all calls took so far; see `ModelClient.usage`. Requests wait for their slot, and through
        tries that failed."""
        self.out_of_memory = 0
        """Always: an endpoint's memory is its own business."""
        self.calls = 0
        """Calls that were answered."""

    async def submit(self, request: Q, priority: tuple[int, ...] = ()) -> Timed[R]:
        """The model's answer to one request; see `ModelClient.submit`. Cancelled when the endpoint is closed.

        Raises:
            RecordError: the endpoint refused this request, or failed on it again and again, or too slowly.
            ConfigError: the endpoint refuses every request: its key, model, address or a setting is wrong.
            EndpointError: the endpoint is down, or its quota is used up.
        """
        task = asyncio.ensure_future(self._serve(request, priority))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closed:
            task.cancel()
        return await task

    async def close(self) -> None:
        """Cancel the calls in flight and those that wait, and when they have ended close the connections."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        self._limiter.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_client()

    async def _serve(self, request: Q, priority: tuple[int, ...]) -> Timed[R]:
        from tenacity import AsyncRetrying, retry_if_exception  # here, since importing this room stays light

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
            with boundary(self.role.failed):
                try:
                    priced, took = await retrying(self._try, request, priority, patience)
                except EndpointFault as fault:
                    raise await self._conclude(fault, patience) from None
                patience.spent += priced.cost
                value = await asyncio.to_thread(self.role.check, priced.value)
        except RecordError as error:
            error.cost += patience.spent
            raise
        waiting = max(0.0, time.perf_counter() - since - took)
        self.usage += Usage({f"{self.role.name}_waiting": waiting})
        paid = Usage.paid(self.role.name, patience.spent)
        return Timed(value, Usage({self.role.name: took, "waiting": waiting}) + paid)

    async def _try(self, request: Q, priority: tuple[int, ...], patience: _Patience) -> tuple[Any, float]:
        """One call, when it has got a slot: what was answered, and the seconds it took."""
        async with self._limiter.acquire(priority) as began:
            if self._end is not None:
                raise type(self._end)(*self._end.args)
            ended = asyncio.get_running_loop().create_future()
            self._in_flight.add(ended)
            answered = 0
            try:
                priced = await self._call_in_time(request)
                answered = 1
            except EndpointFault as fault:
                patience.note_fault(fault, self.calls)
                self._refusals += fault.meaning is Meaning.settings
                if fault.meaning in _BUSY:
                    patience.pause = self._limiter.record_busy(began, fault.retry_after)
                raise
            except RecordError as error:
                if error.kind is not ErrorKind.step_timeout:
                    self._note_settings_work()  # it was the model that refused, or its answer is of no use
                raise
            finally:
                self._in_flight.discard(ended)
                ended.set_result(None)
                took = time.monotonic() - began
                name = self.role.name
                self.usage += Usage({name: took, f"{name}_served": took} if answered else {"retried": took})
                now = time.perf_counter()
                self.on_call(self.role.name, now - took, now, answered)
            self.last_answer = time.monotonic()
            self._note_settings_work()
            self.calls += 1
            self._limiter.record_answer(began)
            return priced, took

    async def _call_in_time(self, request: Q) -> Priced[Any]:
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
            words = f"one {self.role.name} call took longer than {limit:g} s"
            raise RecordError(ErrorKind.step_timeout, words)
        raise EndpointFault(Meaning.broken, f"no answer within {most:g} s (timeout_seconds)")

    def _note_settings_work(self) -> None:
        self._works, self._refusals = True, 0

    def _count_retry(self, _: RetryCallState) -> None:
        self.usage += Usage(retries=1)

    async def _answers_others(self) -> bool:
        """Whether a fault of settings may be this request's alone: others were answered, or are by the calls
        now in flight, and not too many of them refused since."""
        others = set(self._in_flight)
        while others and not self._works:
            _, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        return self._works and self._refusals <= REFUSALS + self._config.concurrency

    async def _conclude(self, fault: EndpointFault, patience: _Patience) -> RecordError | UserError:
        """The error that a fault is which is not retried, or not any more."""
        config = self._config
        name = f"{self.role.name} model {config.model} at {config.base_url or 'its vendor'}"
        key = f"the key in {config.api_key_env}" if config.api_key_env else "the key (api_key_env)"
        match fault.meaning:
            case Meaning.request:
                return RecordError(self.role.failed, str(fault))
            case Meaning.settings if await self._answers_others():
                return RecordError(self.role.failed, str(fault))
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
            case _ if patience.is_to_blame(self.calls):
                words = f"{patience.failed} calls failed while others were answered; the last: {fault}"
                return RecordError(self.role.failed, words)
            case _:
                asked, most = fault.retry_after or 0.0, config.retry_seconds
                said = f"asks for a pause of {asked:g} s, more than" if asked > most else "gave no answer for"
                self._end = EndpointError(
                    f"{name} {said} {most:g} s (retry_seconds): {fault}. "
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
        self._answered_last = 0
        """The same until the last one failed."""
        self._waited = 0.0  # since the first, and until the next try
        self._last: EndpointFault | None = None
        self.broken = 0
        """Calls that broke."""
        self.failed = 0
        """These, and those that a gateway gave up."""
        self._given_up = 0
        """Calls that a gateway gave up, and after which others were answered before the next."""
        self._refused = 0
        """Calls that were refused since the endpoint was busy."""
        self.spent = 0.0
        """US dollars of all calls so far that were answered, to whatever use."""
        self.pause = 0.0
        """Seconds for which the endpoint takes no calls from anybody; 0: it does."""

    def note_fault(self, fault: EndpointFault, answered: int) -> None:
        """A call failed; so many of others have been answered by now."""
        if self._since is None:
            self._since, self._answered = time.monotonic(), answered
        elif self._last is not None and self._last.meaning is Meaning.gateway:
            self._given_up += answered > self._answered_last
        self._answered_last = answered
        self._last = fault
        self.failed += fault.meaning is not Meaning.busy
        self.pause = 0.0
        self.broken += fault.meaning is Meaning.broken
        self._refused += fault.meaning in _BUSY
        self.spent += fault.cost

    def wait(self, _: RetryCallState) -> float:
        """Seconds until the next try."""
        assert self._last is not None
        if self._last.meaning in _BUSY:
            return self.pause or draw_backoff(self._first, self._refused, BUSY_DOUBLINGS)
        if self._last.retry_after is not None:
            return self._last.retry_after
        return draw_backoff(self._first, self.broken)

    def is_over(self, state: RetryCallState) -> bool:
        """Whether no further try is made: the request is to blame, or the endpoint is down."""
        assert self._since is not None
        now = time.monotonic()
        self._waited = now - self._since + state.upcoming_sleep
        if self.is_to_blame(self._endpoint.calls):
            return True
        dead_for = now - max(self._since, self._endpoint.last_answer)
        return dead_for + state.upcoming_sleep >= self._seconds

    def is_to_blame(self, answered: int) -> bool:
        """Whether it is this request: its calls break, or a gateway gives them up, others being answered. Of
        an endpoint that is away that isn't so: nobody is answered between one such word and the next.

        Args:
            answered: calls of others by now.
        """
        if self._given_up >= BLAME and self._waited >= self._seconds:
            return True
        return self.broken >= BLAME and answered > self._answered


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, EndpointFault) and error.meaning in (*_BUSY, Meaning.broken)
