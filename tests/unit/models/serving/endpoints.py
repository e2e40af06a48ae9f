"""An endpoint whose calls are scripted in place; tests/contract/test_served_*.py have sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from mira_batch.config.models.served import ServedConfig
from mira_batch.core.ports import Priced, Timed
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.faults import EndpointFault, Meaning
from tests.support.models.roles import EDITOR

LONG = 30
"""Seconds after which a test that hangs gives up."""
BUSY = EndpointFault(Meaning.busy, "too many", 0.0)
BROKEN = EndpointFault(Meaning.broken, "it broke")
REFUSED = EndpointFault(Meaning.settings, "HTTP 403: not allowed")
Call = Callable[[Any], Awaitable[Priced[Any]]]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, LONG))


def config(**settings: Any) -> ServedConfig:
    return ServedConfig(**{"model": "tiny", "base_url": "http://model.test/v1", **settings})


def endpoint(call: Call, check: Callable[[Any], Any] = lambda answer: answer, **settings: Any) -> Any:
    limit = settings.pop("limit_seconds", None)
    role = settings.pop("role", EDITOR)
    return Endpoint(replace(role, check=check), call, config(**settings), limit, first_backoff=0.001)


class Model:
    """Answers x with x * 10 for x cents; what is scripted for x happens first, fault by fault."""

    def __init__(self, **faults: list[Exception]) -> None:
        self.begun: list[Any] = []
        self.at: list[float] = []
        self.inside = 0
        self.most = 0
        self.go = asyncio.Event()
        self.go.set()
        self._faults = {int(name.lstrip("_")): list(several) for name, several in faults.items()}

    async def __call__(self, request: Any) -> Priced[Any]:
        self.begun.append(request)
        self.at.append(time.monotonic())
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go.wait()
            await asyncio.sleep(0)
            if self._faults.get(request):
                raise self._faults[request].pop(0)
            return Priced(request * 10, request / 100)
        finally:
            self.inside -= 1


async def outcomes(served: Any, requests: list[Any], ranks: list[tuple[int, ...]] | None = None) -> list[Any]:
    pairs = zip(requests, ranks or [()] * len(requests), strict=True)
    found = await asyncio.gather(*(served.submit(r, rank) for r, rank in pairs), return_exceptions=True)
    return [one.value if isinstance(one, Timed) else one for one in found]


async def settled(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
