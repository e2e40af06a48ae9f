"""How long the endpoint waits for a model that is busy or broken, and when the request is to blame.

Where a test measures time, only a least time is asserted, which a busy machine keeps.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from tenacity import RetryCallState, Retrying

from mira_batch.core.errors import EndpointError, RecordError
from mira_batch.models.serving.endpoint import BLAME, _Patience
from mira_batch.models.serving.faults import EndpointFault, Meaning
from tests.unit.models.serving.endpoints import BROKEN, BUSY, Model, endpoint, outcomes, run, settled

UNREACHED = EndpointFault(Meaning.gateway, "HTTP 504: no answer in time")


def test_passing_faults_are_waited_out() -> None:
    async def main() -> None:
        model = Model(_1=[BUSY, BROKEN, BROKEN], _2=[BROKEN])
        served = endpoint(model)
        assert await outcomes(served, [1, 2, 3]) == [10, 20, 30]
        assert served.usage.retries == 4
        assert served.calls == 3

    run(main())


def test_a_request_that_backs_off_gives_its_place_to_others() -> None:
    async def main() -> None:
        model = Model(_1=[EndpointFault(Meaning.broken, "later", 0.1)])
        served = endpoint(model, concurrency=1)
        assert await outcomes(served, [1, 2, 3]) == [10, 20, 30]
        assert model.begun == [1, 2, 3, 1]

    run(main())


def test_a_busy_endpoint_is_left_alone_by_everybody_for_as_long_as_it_asks() -> None:
    async def main() -> None:
        model = Model(_1=[EndpointFault(Meaning.busy, "slow down", 0.1)])
        served = endpoint(model)
        first = asyncio.create_task(served.submit(1))
        await settled(lambda: len(model.begun) == 1 and not model.inside)
        await outcomes(served, [2, 3])
        await first
        assert min(model.at[1:]) - model.at[0] >= 0.099

    run(main())


def test_a_used_up_quota_ends_the_run() -> None:
    async def main() -> None:
        served = endpoint(Model(_1=[EndpointFault(Meaning.quota, "pay first")]), api_key_env="MY_KEY")
        with pytest.raises(EndpointError, match="quota of the key in MY_KEY is used up: pay first"):
            await served.submit(1)

    run(main())


@pytest.mark.parametrize("fault", [BUSY, BROKEN], ids=["busy", "broken"])
def test_an_endpoint_that_is_down_ends_the_run(fault: EndpointFault) -> None:
    async def main() -> None:
        model = Model(_1=[fault] * 100_000, _2=[fault] * 100_000)
        found = await outcomes(endpoint(model, retry_seconds=0.15), [1, 2])
        assert [type(one) for one in found] == [EndpointError, EndpointError]
        assert "0.15 s (retry_seconds)" in str(found[0]) and "same command goes on" in str(found[0])
        assert len(model.begun) > 2

    run(main())


def test_without_patience_the_first_fault_ends_the_run() -> None:
    async def main() -> None:
        model = Model(_1=[BROKEN])
        with pytest.raises(EndpointError):
            await endpoint(model, retry_seconds=0).submit(1)
        assert model.begun == [1]

    run(main())


def test_a_wait_beyond_its_patience_is_not_begun() -> None:
    async def main() -> None:
        model = Model(_1=[EndpointFault(Meaning.busy, "tomorrow", 86_400)])
        with pytest.raises(EndpointError, match="tomorrow"):
            await endpoint(model).submit(1)

    run(main())


def test_a_request_that_breaks_while_others_are_answered_is_to_blame() -> None:
    async def main() -> None:
        model = Model(_1=[BROKEN] * 1000)
        served = endpoint(model, concurrency=2)
        poison = asyncio.create_task(served.submit(1))
        await settled(lambda: len(model.begun) >= 1 and not model.inside)
        assert await outcomes(served, [2, 3]) == [20, 30]
        with pytest.raises(RecordError, match="while others were answered; the last: it broke"):
            await poison
        assert model.begun.count(1) >= BLAME
        assert await outcomes(served, [4]) == [40]

    run(main())


def test_a_busy_endpoint_never_blames_a_request_and_is_not_down_while_it_answers_others() -> None:
    async def main() -> None:
        model = Model(_1=[BUSY] * 30)
        served = endpoint(model, concurrency=1)

        async def others() -> None:
            while served.calls < 60:
                await served.submit(0)

        found, _ = await asyncio.gather(served.submit(1, (1,)), others())
        assert found.value == 10
        assert model.begun.count(1) == 31

    run(main())


def test_a_request_that_a_gateway_gives_up_while_others_are_answered_is_to_blame() -> None:
    async def main() -> None:
        model = Model(_1=[UNREACHED] * 1000)
        served = endpoint(model, concurrency=1, retry_seconds=0.5)
        poison = asyncio.create_task(served.submit(1, (1,)))
        while not poison.done():
            await served.submit(0)
        with pytest.raises(RecordError, match="calls failed while others were answered; the last: HTTP 504"):
            await poison
        assert model.begun.count(1) > BLAME

    run(main())


def test_an_endpoint_that_goes_away_behind_its_gateway_blames_nobody() -> None:
    async def main() -> None:
        model = Model(_1=[UNREACHED] * 10_000)
        served = endpoint(model, retry_seconds=0.2)
        last = asyncio.create_task(served.submit(1))
        await settled(lambda: len(model.begun) >= 1 and not model.inside)
        await outcomes(served, [2, 3])
        with pytest.raises(EndpointError, match="gave no answer for 0.2 s"):
            await last

    run(main())


@pytest.mark.parametrize(("answered_ago", "over"), [(1.0, False), (100.0, True)])
def test_how_long_an_endpoint_is_down_counts_from_its_last_answer(answered_ago: float, over: bool) -> None:
    async def main() -> None:
        served = endpoint(Model())
        patience = _Patience(served, 50.0, 0.001)
        patience.note_fault(BUSY, served.calls)
        patience._since = time.monotonic() - 90
        served.last_answer = time.monotonic() - answered_ago
        state = RetryCallState(Retrying(), None, (), {})
        assert patience.is_over(state) is over

    run(main())


def test_after_a_storm_answers_bring_all_places_back() -> None:
    async def main() -> None:
        model = Model(_1=[BUSY], _2=[BUSY], _3=[BUSY], _4=[BUSY])
        served = endpoint(model, concurrency=4)
        await outcomes(served, list(range(1, 20)))
        model.most = 0
        model.go.clear()
        asked = asyncio.create_task(outcomes(served, list(range(20, 30))))
        await settled(lambda: model.inside == 4)
        model.go.set()
        await asked
        assert model.most == 4

    run(main())
