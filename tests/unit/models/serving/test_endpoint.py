"""The endpoint's queue and patience, with calls scripted in place; tests/contract/test_served.py has sockets.

Where a test measures time, only a least time is asserted, which a busy machine keeps.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from tenacity import RetryCallState, Retrying

from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import ConfigError, EndpointError, RecordError
from mira_batch.core.ports import Priced, Timed
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.endpoint import BLAME, REFUSALS, Endpoint, _Patience
from mira_batch.models.serving.faults import EndpointFault, Meaning, classify_status, parse_retry_after, quote
from mira_batch.models.serving.limiter import DOUBLINGS, ConcurrencyLimiter, draw_backoff
from tests.support.models.roles import EDITOR, POLICY

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


def test_after_a_storm_half_as_many_calls_are_let_in_and_one_more_for_each_answer() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(8, first_backoff=0.001)
        inside: list[asyncio.Event] = []

        async def caller() -> None:
            async with limiter.acquire(()):
                inside.append(asyncio.Event())
                await inside[-1].wait()

        callers = [asyncio.create_task(caller()) for _ in range(30)]
        await settled(lambda: len(inside) == 8)
        began = time.monotonic()
        for event in inside:  # all are refused by the same storm
            limiter.record_busy(began, 0.0)
            event.set()
        await settled(lambda: len(inside) == 12)
        await asyncio.sleep(0.02)
        assert len(inside) == 12
        limiter.record_answer()
        await settled(lambda: len(inside) == 13)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        limiter.close()

    run(main())


def test_pauses_grow_while_there_is_no_answer() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(4, first_backoff=1.0)
        waits = []
        for _ in range(DOUBLINGS + 3):
            waits.append(limiter.record_busy(time.monotonic(), None))
            limiter._paused_until = 0.0
        assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits[: DOUBLINGS + 1]))
        assert max(waits) <= 2**DOUBLINGS
        limiter.record_answer()
        assert limiter.record_busy(time.monotonic(), None) <= 1.0

    run(main())


def test_all_the_refusals_of_one_storm_count_once() -> None:
    async def main() -> None:
        limiter, began = ConcurrencyLimiter(8, first_backoff=1.0), time.monotonic()
        assert max(limiter.record_busy(began, None) for _ in range(8)) <= 1.0
        limiter._paused_until = 0.0
        assert limiter.record_busy(time.monotonic(), None) <= 2.0

    run(main())


def test_backoff_doubles_to_its_cap_and_is_jittered() -> None:
    assert all(0.5 <= draw_backoff(1.0, 1) <= 1.0 for _ in range(100))
    assert len({draw_backoff(1.0, 3) for _ in range(20)}) > 1
    assert draw_backoff(1.0, 1000) <= 2**DOUBLINGS


def test_a_refused_request_fails_alone_and_is_not_repeated() -> None:
    async def main() -> None:
        model = Model(_2=[EndpointFault(Meaning.request, "HTTP 400: no zebras")])
        found = await outcomes(endpoint(model), [1, 2, 3])
        assert found[::2] == [10, 30]
        assert isinstance(found[1], RecordError)
        assert (found[1].kind, str(found[1])) == (ErrorKind.editor_failed, "HTTP 400: no zebras")
        assert model.begun == [1, 2, 3]

    run(main())


def test_a_wrong_key_ends_the_run_and_nobody_calls_again() -> None:
    async def main() -> None:
        model = Model(_1=[EndpointFault(Meaning.key, "HTTP 401: bad key")])
        served = endpoint(model, concurrency=1, api_key_env="MY_KEY")
        found = await outcomes(served, [1, 2])
        assert [type(one) for one in found] == [ConfigError, ConfigError]
        for part in ("editor model tiny", "http://model.test/v1", "MY_KEY", "HTTP 401: bad key"):
            assert part in str(found[0])
        with pytest.raises(ConfigError, match="bad key"):
            await served.submit(3)
        assert model.begun == [1]

    run(main())


def test_a_key_that_is_withdrawn_ends_the_run_although_others_were_answered() -> None:
    async def main() -> None:
        served = endpoint(Model(_2=[EndpointFault(Meaning.key, "HTTP 401: withdrawn")]), concurrency=1)
        found = await outcomes(served, [1, 2, 3])
        assert found[0] == 10
        assert [type(one) for one in found[1:]] == [ConfigError, ConfigError]

    run(main())


def test_a_refusal_fails_its_record_when_others_are_answered() -> None:
    async def main() -> None:
        model = Model(_2=[REFUSED])
        found = await outcomes(endpoint(model, concurrency=1), [1, 2, 3])
        assert found[::2] == [10, 30]
        assert isinstance(found[1], RecordError) and str(found[1]) == "HTTP 403: not allowed"
        assert model.begun == [1, 2, 3]

    run(main())


@pytest.mark.parametrize("concurrency", [1, 3])
def test_refusals_and_nothing_else_end_the_run(concurrency: int) -> None:
    async def main() -> None:
        model = Model(_1=[REFUSED], _2=[REFUSED], _3=[REFUSED])
        found = await outcomes(endpoint(model, concurrency=concurrency), [1, 2, 3, 4])
        assert [type(one) for one in found[:3]] == [ConfigError] * 3
        assert "refuses every call: HTTP 403: not allowed" in str(found[0])
        assert len(model.begun) <= concurrency + 1

    run(main())


def test_of_a_first_refusal_the_calls_in_flight_say_whose_fault_it_is() -> None:
    """The catalogue's first image may be the one that the endpoint moderates."""

    async def main() -> None:
        model = Model(_1=[REFUSED], _2=[REFUSED])
        model.go.clear()
        served = endpoint(model, concurrency=3)
        asked = asyncio.create_task(outcomes(served, [1, 2, 3]))
        await settled(lambda: model.inside == 3)
        model.go.set()
        found = await asked
        assert [type(one) for one in found[:2]] == [RecordError, RecordError]
        assert found[2] == 30

    run(main())


def test_a_model_that_refused_in_its_own_words_was_called_rightly() -> None:
    async def main() -> None:
        own = RecordError(ErrorKind.editor_failed, "I'd rather not")
        served = endpoint(Model(_1=[own], _2=[REFUSED]), concurrency=1)
        found = await outcomes(served, [1, 2, 3])
        assert [str(one) for one in found] == ["I'd rather not", "HTTP 403: not allowed", "30"]

    run(main())


def test_refusals_without_end_are_the_endpoints() -> None:
    """A model that is withdrawn in the middle of a run must not fail all records that are left."""

    async def main() -> None:
        most = REFUSALS + 1  # of one call in flight
        served = endpoint(Model(_1=[REFUSED] * (2 * most + 1)), concurrency=1)
        for _ in range(2):
            assert await outcomes(served, [0]) == [0]
            found = await outcomes(served, [1] * most)
            assert {type(one) for one in found} == {RecordError}
        found = await outcomes(served, [1, 0])
        assert [type(one) for one in found] == [ConfigError, ConfigError]

    run(main())


# What is charged


def charged_fault(cost: float) -> EndpointFault:
    fault = EndpointFault(Meaning.broken, "no choices")
    fault.cost = cost
    return fault


def test_tries_that_were_charged_are_part_of_the_price() -> None:
    async def main() -> None:
        timed = await endpoint(Model(_5=[charged_fault(0.5), BROKEN, charged_fault(0.25)])).submit(5)
        assert (timed.value, timed.usage.cost) == (50, pytest.approx(0.05 + 0.75))

    run(main())


def test_what_a_failed_record_was_charged_is_told() -> None:
    async def main() -> None:
        refusal = RecordError(ErrorKind.editor_failed, "no", 0.25)
        model = Model(_1=[charged_fault(0.5), refusal], _2=[charged_fault(0.5)] * BLAME)
        served = endpoint(model, concurrency=2)
        asked = asyncio.create_task(outcomes(served, [1, 2]))
        while not asked.done():
            await outcomes(served, [0])  # is answered, so that the second is to blame
        refused, blamed = await asked
        assert (str(refused), refused.cost) == ("no", pytest.approx(0.75))
        assert (type(blamed), blamed.cost) == (RecordError, pytest.approx(0.5 * BLAME))

    run(main())


@pytest.mark.parametrize("error", [RecordError(ErrorKind.editor_failed, "no picture"), ValueError("odd")])
def test_an_answer_that_fails_its_check_was_charged_all_the_same(error: Exception) -> None:
    def check(answer: int) -> None:
        raise error

    async def main() -> None:
        (found,) = await outcomes(endpoint(Model(_5=[charged_fault(0.5)]), check), [5])
        assert isinstance(found, RecordError) and found.cost == pytest.approx(0.55)

    run(main())


def test_the_cost_of_an_error_travels_with_it() -> None:
    error = pickle.loads(pickle.dumps(RecordError(ErrorKind.editor_failed, "no", 0.25)))
    assert (type(error), error.kind, str(error), error.cost) == (
        RecordError,
        ErrorKind.editor_failed,
        "no",
        0.25,
    )
    assert RecordError(ErrorKind.editor_failed, "no").cost == 0


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


def test_a_turn_given_to_a_caller_that_is_cancelled_meanwhile_is_given_on() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(1)
        begun: list[str] = []

        async def caller(name: str, go: asyncio.Event) -> None:
            async with limiter.acquire(()):
                begun.append(name)
                await go.wait()

        go = asyncio.Event()
        first, second, third = (asyncio.create_task(caller(name, go)) for name in "abc")
        await settled(lambda: begun == ["a"])
        first.cancel()
        await asyncio.sleep(0)  # a leaves: the turn is b's, who has not run yet
        second.cancel()
        await settled(lambda: "c" in begun)
        go.set()
        await third
        assert begun == ["a", "c"]

    run(main())


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (400, None, Meaning.request),
        (400, "moderation_blocked", Meaning.request),
        (400, "API_KEY_INVALID", Meaning.key),
        (400, "unsupported_value", Meaning.settings),
        (401, None, Meaning.key),
        (402, None, Meaning.quota),
        (403, None, Meaning.settings),
        (404, "model_not_found", Meaning.settings),
        (405, None, Meaning.settings),
        (407, None, Meaning.key),
        (410, None, Meaning.settings),
        (408, None, Meaning.broken),
        (409, None, Meaning.broken),
        (413, None, Meaning.request),
        (422, None, Meaning.request),
        (429, None, Meaning.busy),
        (429, "rate_limit_exceeded", Meaning.busy),
        (429, "insufficient_quota", Meaning.quota),
        (500, None, Meaning.broken),
        (503, None, Meaning.busy),
        (529, None, Meaning.busy),
    ],
)
def test_what_statuses_mean(status: int, code: str | None, meaning: Meaning) -> None:
    assert classify_status(status, code) is meaning


def test_keys_are_never_quoted() -> None:
    words = quote("Incorrect key provided: sk-proj-ab****yz.\nBearer abcdef secret-1 AIzaSyD-x9", "secret-1")
    assert words == "Incorrect key provided: *** Bearer *** *** ***"
    assert len(quote("x" * 10_000, None)) == 300


def test_retry_after_is_read_in_seconds() -> None:
    assert [parse_retry_after(text) for text in ("2", "0", "1.5")] == [2.0, 0.0, 1.5]
    assert [parse_retry_after(text) for text in (None, "", "-1", "nan", "inf", "Wed, 21 Oct 2026")] == [
        None
    ] * 6
