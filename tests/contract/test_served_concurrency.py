"""Several calls of a served model at once, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mira_batch.core.errors import RecordError, UserError
from tests.contract.served_models import Served, a_request, every_model, opened, patiently, run
from tests.support.servers.models import Answer, Asked, ModelServer, failing, obliging

pytestmark = pytest.mark.usefixtures("clean_environment")


@every_model
def test_the_server_never_sees_more_calls_than_allowed(served: Served, server: ModelServer) -> None:
    go = threading.Event()

    def script(asked: Asked) -> Answer:
        answer = obliging(asked)
        if asked.number == 2:  # the third comes only if three are let in
            go.set()
        return Answer(answer.value, wait=go)

    server.script = script
    found, _ = patiently(served, server, times=12, concurrency=3)
    assert len(found) == 12 and not [one for one in found if isinstance(one, BaseException)]
    assert server.most_in_flight == 3


@every_model
def test_closing_lets_go_of_the_connections(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: Answer(how="hang")

    async def main() -> list[Any]:
        async with opened(served, server, concurrency=2) as endpoint:
            calls = [asyncio.create_task(endpoint.submit(a_request(served))) for _ in range(4)]
            await asyncio.to_thread(server.until, lambda: len(server.asked) == 2)
            await endpoint.close()
            return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.CancelledError] * 4
    server.until(lambda: server.dropped == 2)
    assert len(server.asked) == 2


@every_model
def test_a_storm_passes_without_a_record_lost(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: failing(429, "busy") if asked.number % 3 else obliging(asked)
    found, retries = patiently(served, server, times=10, concurrency=4)
    assert not [one for one in found if isinstance(one, UserError | RecordError)]
    assert retries == len(server.asked) - 10
