"""How a job reaches a model, wherever it runs: one Protocol over the micro-batcher and the endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from mira_batch.core.ports import Timed
from mira_batch.core.usage import Usage
from mira_batch.models.serving.roles import Role

Q = TypeVar("Q", contravariant=True)
R = TypeVar("R")

OnCall = Callable[[str, float, float, int], None]
"""Told of a call: which replica made it, its begin and end (`time.perf_counter()`), and how many requests it
answered, 0 where it failed. It must not raise, and may be called from any thread."""


def ignore_call(replica: str, begin: float, end: float, answered: int) -> None:
    """An `OnCall` for when nobody listens.

    Args:
        replica: which copy of the model.
        begin: when the call began.
        end: when it ended.
        answered: how many requests it answered.
    """


class ModelClient(Protocol[Q, R]):
    """Awaitable access to one model, for many records at once.

    `MicroBatcher` implements it for models in the worker, `Endpoint` for served ones. A client belongs to the
    event loop it was created on: create it, await `submit` and `close` there. `usage`, `out_of_memory` and
    `on_call` may be read from any thread.
    """

    @property
    def on_call(self) -> OnCall:
        """Told of each call when it has ended; replace it to listen."""
        ...

    @on_call.setter
    def on_call(self, on_call: OnCall) -> None:
        """Listen, in the place of whoever did.

        Args:
            on_call: told of each call from now on.
        """
        ...

    @property
    def role(self) -> Role:
        """What the model is to the job."""
        ...

    @property
    def usage(self) -> Usage:
        """What all calls took so far, over all replicas.

        Seconds under the role's name (calls that gave answers), `<role>_waiting` (requests that waited for
        their call to begin) and `retried` (calls that gave none); `retries` are faults waited out. What
        endpoints charged is not in it: that is booked with each answer, in `Timed.usage`.
        """
        ...

    @property
    def out_of_memory(self) -> int:
        """Calls that ran out of memory so far; 0 for an endpoint."""
        ...

    async def submit(self, request: Q, priority: tuple[int, ...] = ()) -> Timed[R]:
        """The model's checked answer to one request, what it took of the record's time, and its price.

        Cancelled when the client is closed before the request's call was begun.

        Args:
            request: as the role's method takes it.
            priority: smaller goes first; of equals, who came first.

        Raises:
            RecordError: the model failed on this request. Its `cost` is what that was charged.
            EngineDead: the model can't go on; the process should leave.
            UserError: an endpoint refuses every call, or is down; the run should end.
        """
        ...

    async def close(self) -> None:
        """Take no request more. Cancel those that wait and calls of endpoints; a call of a model in this
        process can't be cancelled, and its thread ends after it."""
        ...
