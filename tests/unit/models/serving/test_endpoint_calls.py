"""The endpoint's queue and its calls.

Where a test measures time, only a least time is asserted, which a busy machine keeps.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from mira_batch.core.errors import RecordError
from mira_batch.core.ports import Priced
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.faults import EndpointFault, Meaning
from tests.support.models.roles import EDITOR, POLICY
from tests.unit.models.serving.endpoints import LONG, Model, config, endpoint, outcomes, run, settled


def test_each_request_gets_its_own_answer_and_cost() -> None:
    async def main() -> None:
        served = endpoint(Model(), concurrency=4)
        found = await asyncio.gather(*(served.submit(i) for i in range(50)))
        assert [one.value for one in found] == [10 * i for i in range(50)]
        assert [one.usage.cost for one in found] == [i / 100 for i in range(50)]
        assert (served.calls, served.usage.retries, served.out_of_memory) == (50, 0, 0)
        assert served.usage["editor"] > 0

    run(main())


def test_no_more_calls_than_allowed_are_in_flight() -> None:
    async def main() -> None:
        model = Model()
        model.go.clear()
        served = endpoint(model, concurrency=3)
        asked = asyncio.create_task(outcomes(served, list(range(20))))
        await settled(lambda: model.inside == 3)
        for _ in range(50):
            await asyncio.sleep(0)
        assert model.begun == [0, 1, 2]
        model.go.set()
        assert await asked == [10 * i for i in range(20)]
        assert model.most == 3

    run(main())


def test_the_most_urgent_goes_first_and_equals_in_order() -> None:
    async def main() -> None:
        model = Model()
        model.go.clear()
        served = endpoint(model, concurrency=1)
        first = asyncio.create_task(served.submit(9, (9,)))
        await settled(lambda: model.inside == 1)
        ranks = [(5,), (4,), (2, -1), (2, -3), (4,)]
        asked = asyncio.create_task(outcomes(served, [1, 2, 3, 4, 5], ranks))
        await settled(lambda: len(served._limiter._waiting) == 5)
        model.go.set()
        await asked
        await first
        assert model.begun == [9, 4, 3, 2, 5, 1]

    run(main())


def test_calls_are_spread_evenly_over_the_minute() -> None:
    async def main() -> None:
        model = Model()
        served = endpoint(model, requests_per_minute=1200)  # one in 50 ms
        await outcomes(served, list(range(6)))
        assert model.at[-1] - model.at[0] >= 5 * 0.05 * 0.99
        gaps = [later - earlier for earlier, later in zip(model.at, model.at[1:], strict=False)]
        assert model.begun == list(range(6)) and max(gaps) < LONG

    run(main())


def test_a_call_over_its_limit_fails_its_record_and_is_cancelled() -> None:
    ended: list[str] = []

    async def call(request: str) -> Priced[str]:
        try:
            await asyncio.sleep(LONG if request == "hang" else 0)
        except asyncio.CancelledError:
            ended.append(request)
            raise
        return Priced(request)

    async def main() -> None:
        found = await outcomes(endpoint(call, limit_seconds=0.05, role=POLICY), ["hang", "fine"])
        assert found[1] == "fine"
        assert (found[0].kind, str(found[0])) == (
            ErrorKind.step_timeout,
            "one policy call took longer than 0.05 s",
        )
        assert ended == ["hang"]

    run(main())


def test_a_call_over_its_time_out_is_made_again() -> None:
    begun: list[int] = []

    async def call(request: int) -> Priced[int]:
        begun.append(request)
        await asyncio.sleep(LONG if len(begun) == 1 else 0)
        return Priced(request)

    async def main() -> None:
        served = endpoint(call, timeout_seconds=0.05, limit_seconds=LONG)
        assert (await served.submit(7)).value == 7
        assert (begun, served.usage.retries) == ([7, 7], 1)

    run(main())


def test_foreign_errors_fail_the_record() -> None:
    async def main() -> None:
        model = Model(_1=[KeyError("oops")], _2=[TimeoutError("of its own")])
        found = await outcomes(endpoint(model, role=POLICY), [1, 2])
        assert [(one.kind, str(one)) for one in found] == [
            (ErrorKind.policy_failed, "KeyError: 'oops'"),
            (ErrorKind.policy_failed, "TimeoutError: of its own"),
        ]

    run(main())


def test_answers_are_checked_in_a_thread() -> None:
    threads: list[int] = []

    def check(answer: int) -> str:
        threads.append(threading.get_ident())
        if answer == 10:
            raise RecordError(ErrorKind.editor_failed, "no picture")
        return f"checked {answer}"

    async def main() -> None:
        found = await outcomes(endpoint(Model(), check), [1, 2])
        assert str(found[0]) == "no picture"
        assert found[1] == "checked 20"
        assert threading.get_ident() not in threads

    run(main())


def test_seconds_of_the_answered_call_are_the_models_and_the_rest_is_waiting() -> None:
    calls: list[int] = []

    async def call(request: int) -> Priced[int]:
        calls.append(request)
        if len(calls) == 1:
            await asyncio.sleep(0.05)
            raise EndpointFault(Meaning.broken, "again", 0.05)
        await asyncio.sleep(0.05)
        return Priced(request)

    async def main() -> None:
        served = endpoint(call, role=POLICY)
        timed = await served.submit(1)
        assert timed.usage["policy"] >= 0.049
        assert timed.usage["waiting"] >= 0.099
        assert timed.usage["editor"] == timed.usage["judge"] == 0
        assert served.usage["policy"] == pytest.approx(timed.usage["policy"])

    run(main())


def test_closing_cancels_what_runs_and_what_waits_and_then_closes_the_client() -> None:
    async def main() -> None:
        model = Model()
        model.go.clear()
        closed: list[int] = []

        async def close_client() -> None:
            closed.append(model.inside)

        served = Endpoint(EDITOR, model, config(concurrency=2), None, close_client)
        asked = asyncio.create_task(outcomes(served, [1, 2, 3, 4]))
        await settled(lambda: model.inside == 2)
        await served.close()
        assert closed == [0]
        assert all(isinstance(one, asyncio.CancelledError) for one in await asked)
        with pytest.raises(asyncio.CancelledError):
            await served.submit(5)
        assert model.begun == [1, 2]

    run(main())


def test_a_caller_that_gives_up_leaves_its_place_to_others() -> None:
    async def main() -> None:
        model = Model()
        model.go.clear()
        served = endpoint(model, concurrency=1)
        tasks = [asyncio.create_task(served.submit(i)) for i in (1, 2, 3)]
        await settled(lambda: model.inside == 1)
        tasks[1].cancel()  # it waits
        tasks[0].cancel()  # it runs
        model.go.set()
        assert (await tasks[2]).value == 30
        found = await asyncio.gather(*tasks[:2], return_exceptions=True)
        assert [type(one) for one in found] == [asyncio.CancelledError] * 2
        assert model.begun == [1, 3]

    run(main())
