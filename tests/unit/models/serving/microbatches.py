"""A micro-batcher before a model that holds its calls until it is let go.

Interleavings are held in place by events; no test waits for a clock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.models.serving.roles import Role
from tests.support.models.roles import EDITOR

LONG = 30
"""Seconds after which a test that hangs gives up."""


class Model:
    """Answers request x with x * 10; holds the first call until it is let go, so that others gather."""

    def __init__(self, held: bool = False, fault: Callable[[Sequence[Any]], None] | None = None) -> None:
        self.batches: list[list[Any]] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()
        self._fault = fault

    def __call__(self, requests: Sequence[Any]) -> list[Any]:
        self.batches.append(list(requests))
        self.entered.set()
        assert self.go.wait(LONG)
        if self._fault:
            self._fault(requests)
        return [answer(request) for request in requests]


def answer(request: Any) -> Any:
    return request if isinstance(request, Exception) else request * 10


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, LONG))


def batcher(
    *models: Callable[[Sequence[Any]], Sequence[Any]],
    max_batch: int = 8,
    role: Role = EDITOR,
    bucket: Callable[[Any], Any] = lambda request: 0,
) -> MicroBatcher[Any, Any]:
    return MicroBatcher(role, models, bucket, max_batch)


async def outcomes(
    batching: MicroBatcher[Any, Any], requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = ()
) -> list[Any]:
    """The answers or errors of requests submitted in this order, at the same time."""
    ranks = priorities or [()] * len(requests)
    asked = [batching.submit(request, rank) for request, rank in zip(requests, ranks, strict=True)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    await batching.close()
    return [one if isinstance(one, BaseException) else one.value for one in found]


def together(
    model: Model, requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = (), **settings: Any
) -> tuple[list[Any], list[list[Any]]]:
    """The outcomes of requests that all wait behind a first one, and the batches they were run in."""

    async def main() -> list[Any]:
        batching = batcher(model, **settings)
        first = asyncio.create_task(batching.submit(-1, (-1,)))
        await asyncio.to_thread(model.entered.wait, LONG)
        later = asyncio.create_task(outcomes(batching, requests, priorities))
        while len(batching._waiting) < len(requests):
            await asyncio.sleep(0)
        model.go.set()
        assert (await first).value == -10
        return await later

    model.go.clear()
    found = run(main())
    assert model.batches[0] == [-1]
    return found, model.batches[1:]


def batches(requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = (), **settings: Any) -> Any:
    """What the model is called with for requests that wait together."""
    found, run_in = together(Model(), requests, priorities, **settings)
    assert found == [answer(request) for request in requests]
    return run_in


def raises_on(*culprits: int, error: type[BaseException] = ValueError) -> Callable[[Sequence[Any]], None]:
    def fault(requests: Sequence[Any]) -> None:
        if found := [request for request in requests if request in culprits]:
            raise error(f"because of {found}")

    return fault


def failures(found: list[Any]) -> dict[int, tuple[ErrorKind, str]]:
    assert all(isinstance(one, RecordError | int) for one in found), found
    return {i: (one.kind, str(one)) for i, one in enumerate(found) if isinstance(one, RecordError)}
