"""What the calls behind the endpoint are charged, those that failed too."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.endpoint import BLAME
from mira_batch.models.serving.faults import EndpointFault, Meaning
from tests.unit.models.serving.endpoints import BROKEN, Model, endpoint, outcomes, run


def charged_fault(cost: float) -> EndpointFault:
    fault = EndpointFault(Meaning.broken, "no choices")
    fault.cost = cost
    return fault


def test_tries_that_were_charged_are_part_of_the_price() -> None:
    async def main() -> None:
        timed = await endpoint(Model(_5=[charged_fault(0.5), BROKEN, charged_fault(0.25)])).submit(5)
        assert (timed.value, timed.usage.cost) == (50, pytest.approx(0.05 + 0.75))
        assert timed.usage.charges == {"editor": timed.usage.cost}

    run(main())


def test_the_seconds_of_an_endpoint_are_told_from_those_of_a_model_in_the_worker() -> None:
    async def main() -> None:
        served = endpoint(Model())
        timed = await served.submit(5)
        assert served.usage["editor_served"] == served.usage["editor"] == timed.usage["editor"] > 0

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
