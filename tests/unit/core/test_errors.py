from __future__ import annotations

import asyncio
import pickle

import pytest

from mira_batch.core.errors import (
    ConfigError,
    EngineDead,
    ManifestError,
    MiraError,
    RecordError,
    RunConflict,
    StoreError,
    UserError,
    boundary,
    describe,
)
from mira_batch.core.types import ErrorKind, Failure


def test_foreign_errors_become_record_errors_of_the_boundarys_kind() -> None:
    with (
        pytest.raises(RecordError, match="^ValueError: too blue$") as caught,
        boundary(ErrorKind.editor_failed),
    ):
        raise ValueError("too blue")
    assert caught.value.kind is ErrorKind.editor_failed
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "ours",
    [RecordError(ErrorKind.step_timeout, "slow"), EngineDead("sticky"), ConfigError("no"), MiraError("hm")],
    ids=lambda error: type(error).__name__,
)
def test_our_own_errors_pass_unchanged(ours: MiraError) -> None:
    with pytest.raises(MiraError) as caught, boundary(ErrorKind.editor_failed):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize("passing", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_cancellation_and_exits_pass_unchanged(passing: type[BaseException]) -> None:
    with pytest.raises(passing), boundary(ErrorKind.editor_failed):
        raise passing


def test_memory_errors_are_classified_too() -> None:
    with pytest.raises(RecordError, match="^MemoryError$"), boundary(ErrorKind.policy_failed):
        raise MemoryError


def test_nothing_happens_when_nothing_is_raised() -> None:
    with boundary(ErrorKind.judge_failed):
        value = 1
    assert value == 1


def test_the_inner_of_two_boundaries_classifies() -> None:
    with (
        pytest.raises(RecordError) as caught,
        boundary(ErrorKind.policy_failed),
        boundary(ErrorKind.image_unreadable),
    ):
        raise OSError("gone")
    assert caught.value.kind is ErrorKind.image_unreadable


def test_a_record_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RecordError(ErrorKind.worker_crash, "died twice")))
    assert isinstance(error, RecordError)
    assert error.failure == Failure(ErrorKind.worker_crash, "died twice")


def test_what_users_can_fix_is_told_apart() -> None:
    for kind in (ConfigError, ManifestError, StoreError, RunConflict):
        assert issubclass(kind, UserError)
    assert not issubclass(RecordError, UserError)
    assert not issubclass(EngineDead, UserError)


def test_describe() -> None:
    assert describe(ValueError(" a \n")) == "ValueError: a"
    assert describe(KeyError("a")) == "KeyError: 'a'"
    assert describe(TimeoutError()) == "TimeoutError"
