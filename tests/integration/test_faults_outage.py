"""The store takes nothing more, in the middle of a run: no steps are made that it can't keep."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch import run
from mira_batch.core.errors import StoreError
from tests.integration.test_faults_store import running
from tests.support.runs.faultruns import Outcome, Place, check_sound, check_whole

pytestmark = [pytest.mark.faults, pytest.mark.s3]
IN_FLIGHT = 8


SOAK = pytest.mark.soak


# Each fault and each size once; the other half of their pairs is for `make soak`.
@pytest.mark.parametrize(
    ("shard_size", "fault"),
    [
        (1, "unavailable"),
        (8, "full"),
        (8, "quota"),
        (8, "reset"),
        pytest.param(1, "full", marks=SOAK),
        pytest.param(1, "quota", marks=SOAK),
        pytest.param(1, "reset", marks=SOAK),
        pytest.param(8, "unavailable", marks=SOAK),
    ],
)
def test_at_most_one_step_of_each_record_in_flight_is_lost(
    place: Place, undisturbed: Outcome, shard_size: int, fault: Any
) -> None:
    config = place.config(
        editor=place.counting(),
        storage={"retry_seconds": 1, "timeout_seconds": 30},  # the faults are answered at once
        workers={"min": 1, "records_in_flight": IN_FLIGHT, "shard_size": shard_size},
    )
    with running(config) as future:
        place.await_commits(1, future)
        place.proxy.add(fault, "PUT")
        with pytest.raises(StoreError, match=r"the store is (full|busy or failing)|can't be reached"):
            future.result(60)
    place.proxy.settle()
    assert place.edits_begun() - place.durable_edits() <= IN_FLIGHT
    place.proxy.clear()
    check_sound(place.store(), place.past, undisturbed)
    assert run(config).complete
    check_whole(place.store(), place.past, undisturbed)
    assert place.edits_begun() <= sum(row[3] for row in undisturbed.values()) + IN_FLIGHT
