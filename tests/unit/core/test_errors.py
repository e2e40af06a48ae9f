from __future__ import annotations

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from mira_batch.core.errors import (
    ConfigError,
    EngineDead,
    JobError,
    ManifestError,
    MiraError,
    RecordError,
    RunConflict,
    StoreError,
    UserError,
    boundary,
    describe,
    job_boundary,
)
from mira_batch.core.text import MOST_MESSAGE
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


@pytest.mark.parametrize("passing", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_cancellation_and_a_users_interrupt_pass_unchanged(passing: type[BaseException]) -> None:
    for within in (boundary(ErrorKind.editor_failed), job_boundary("job x")):
        with pytest.raises(passing), within:
            raise passing


class Odd(BaseException):
    """What only `except BaseException` catches."""


@pytest.mark.parametrize("ends", [SystemExit(3), Odd("3")])
def test_what_would_end_a_thread_is_classified(ends: BaseException) -> None:
    with pytest.raises(RecordError, match="^(SystemExit|Odd): 3$"), boundary(ErrorKind.editor_failed):
        raise ends
    with pytest.raises(JobError, match="^job x: (SystemExit|Odd): 3$"), job_boundary("job x"):
        raise ends


def test_an_interrupt_is_the_users_in_the_main_thread_only() -> None:
    def look() -> str:
        with boundary(ErrorKind.editor_failed):
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, pytest.raises(RecordError, match="^KeyboardInterrupt$"):
        pool.submit(look).result()


def test_running_out_of_memory_is_no_records_fault() -> None:
    for within in (boundary(ErrorKind.policy_failed), job_boundary("job x")):
        with pytest.raises(EngineDead, match="^memory ran out in this process: MemoryError$"), within:
            raise MemoryError


def test_a_message_of_any_kind_fits_into_a_row() -> None:
    failure = RecordError(ErrorKind.editor_failed, "bad \udce9 " + "x" * 100_000).failure
    assert failure.message.startswith(r"bad \xe9 x") and len(failure.message) == MOST_MESSAGE


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


def test_the_error_of_a_record_repeats_no_password() -> None:
    for uri, shown in [
        ("http://ann:s3cret@host/a.png", "http://***@host/a.png"),
        ("HTTPS://s3cret@host:8/a.png", "HTTPS://***@host:8/a.png"),
        ("http://ann:s3@cret@host/a@b.png", "http://***@host/a@b.png"),
        ("'s3://key:s3cret@bucket/../x'", "'s3://***@bucket/../x'"),
        ("http://host/ann:pw@x.png", "http://host/ann:pw@x.png"),
        ("/data/ann@host/a.png", "/data/ann@host/a.png"),
    ]:
        error = RecordError(ErrorKind.image_forbidden, f"{uri}: see {uri}")
        for made in (error, pickle.loads(pickle.dumps(error))):
            assert str(made) == made.failure.message == f"{shown}: see {shown}"
