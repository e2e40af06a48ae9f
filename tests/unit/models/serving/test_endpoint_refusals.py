"""Refusals of the endpoint: whether a record fails by one or the run ends."""

from __future__ import annotations

import asyncio

import pytest

from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.endpoint import REFUSALS
from mira_batch.models.serving.faults import EndpointFault, Meaning
from tests.unit.models.serving.endpoints import REFUSED, Model, endpoint, outcomes, run, settled


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
