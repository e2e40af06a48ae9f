"""Several calls of a served model at once, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import Any

import pytest

from mira_batch.core.errors import RecordError, UserError
from mira_batch.models.serving.faults import EndpointFault
from tests.contract.served_models import Served, a_request, every_model, once, opened, patiently, run
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
def test_who_asks_for_a_rest_while_it_is_out_is_asked_by_one_call_after_it(
    served: Served, server: ModelServer
) -> None:
    """The others wait for what becomes of that, and go on when it is answered."""
    out = failing(503, "the circuit is open", Retry_After="0.5")
    server.script = lambda asked: out if asked.number < 19 else obliging(asked)
    found, retries = patiently(served, server, times=24, concurrency=16)
    assert not [one for one in found if isinstance(one, BaseException)] and retries == 19
    at = sorted(asked.at for asked in server.asked)
    assert all(later - before > 0.45 for before, later in pairwise(at[15:20])), "after the first burst"


@every_model
@pytest.mark.parametrize("status", [429, 503])
def test_who_is_called_too_often_is_told_from_who_is_out(
    served: Served, server: ModelServer, status: int
) -> None:
    server.script = lambda asked: failing(status, "later", Retry_After="2")
    with pytest.raises(EndpointFault) as found:
        once(served, server)
    assert (found.value.too_many, found.value.retry_after) == (status == 429, 2.0)


@every_model
def test_a_storm_passes_without_a_record_lost(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: failing(429, "busy") if asked.number % 3 else obliging(asked)
    found, retries = patiently(served, server, times=10, concurrency=4)
    assert not [one for one in found if isinstance(one, UserError | RecordError)]
    assert retries == len(server.asked) - 10
