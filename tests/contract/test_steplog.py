"""What every `StepLog` must do. A new one joins by a factory in `FACTORIES`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import StepLog
from mira_batch.core.types import EditTask, LoggedStep
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.steplogs import Held, MemoryStepLog, a_frame, a_history, a_task, another
from tests.support.servers.s3 import S3Server

Opener = Callable[[], StepLog]
"""Opens the log as a worker does that has just started; all its logs share one store."""


def memory_logs(_: pytest.FixtureRequest) -> Opener:
    held: Held = {}
    return lambda: MemoryStepLog(held)


def local_logs(request: pytest.FixtureRequest) -> Opener:
    folder: Path = request.getfixturevalue("tmp_path")
    return shard_logs(str(folder / "run"), StorageConfig())


def s3_logs(request: pytest.FixtureRequest) -> Opener:
    s3: S3Server = request.getfixturevalue("s3")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{s3.bucket}/steplogs/{request.node.name}"
    return shard_logs(uri, StorageConfig(endpoint_url=s3.endpoint))


def shard_logs(uri: str, config: StorageConfig) -> Opener:
    def opener() -> StepLog:
        log = ShardLog(open_store(uri, config), shard=7)
        log.open()
        return log

    return opener


FACTORIES = [
    pytest.param(memory_logs, id="memory"),
    pytest.param(local_logs, id="local"),
    pytest.param(s3_logs, id="s3", marks=pytest.mark.s3),
]
ORIGINAL = a_frame((9, 9, 9))
HISTORY = a_history(4, ORIGINAL, rejected=(2,))


@pytest.fixture(params=FACTORIES)
def open_log(request: pytest.FixtureRequest) -> Opener:
    return request.param(request)


def load(log: StepLog, task: EditTask) -> tuple[LoggedStep, ...]:
    return asyncio.run(log.load(task))


def append(log: StepLog, task: EditTask, *steps: LoggedStep) -> list[LoggedStep]:
    async def all_of_them() -> list[LoggedStep]:
        await log.load(task)
        return [await log.append(task, logged) for logged in steps]

    return asyncio.run(all_of_them())


def assert_same(found: Sequence[LoggedStep], expected: Sequence[LoggedStep]) -> None:
    assert [logged.step for logged in found] == [logged.step for logged in expected]
    assert [logged.frame.digest for logged in found] == [logged.frame.digest for logged in expected]
    # The digest is what the pixels say, and not only carried along.
    assert [frame_of(logged.frame.pixels).digest for logged in found] == [s.frame.digest for s in expected]


def test_a_fresh_record_has_no_steps(open_log: Opener) -> None:
    assert load(open_log(), a_task()) == ()


def test_what_is_appended_is_loaded_equal_and_in_order(open_log: Opener) -> None:
    appended = append(open_log(), a_task(), *HISTORY)
    assert_same(appended, HISTORY)
    assert_same(load(open_log(), a_task()), HISTORY)


def test_order_is_by_number_and_not_by_name(open_log: Opener) -> None:
    long = a_history(12, ORIGINAL)
    append(open_log(), a_task(), *long)
    assert_same(load(open_log(), a_task()), long)


def test_a_record_goes_on_after_it_is_opened_again(open_log: Opener) -> None:
    append(open_log(), a_task(), *HISTORY[:2])
    append(open_log(), a_task(), *HISTORY[2:])
    assert_same(load(open_log(), a_task()), HISTORY)


def test_a_step_that_is_there_already_stands(open_log: Opener) -> None:
    append(open_log(), a_task(), HISTORY[0])
    late = append(open_log(), a_task(), another(HISTORY[0]))
    assert_same(late, HISTORY[:1])
    assert_same(load(open_log(), a_task()), HISTORY[:1])


def test_the_same_log_does_not_write_a_step_twice(open_log: Opener) -> None:
    log = open_log()
    first, second = append(log, a_task(), HISTORY[0], another(HISTORY[0]))
    assert_same([first, second], [HISTORY[0], HISTORY[0]])


def test_of_two_workers_the_first_to_append_wins(open_log: Opener) -> None:
    early, late = open_log(), open_log()

    async def both() -> list[LoggedStep]:
        assert await early.load(a_task()) == await late.load(a_task()) == ()
        return [await early.append(a_task(), HISTORY[0]), await late.append(a_task(), another(HISTORY[0]))]

    assert_same(asyncio.run(both()), [HISTORY[0], HISTORY[0]])


def test_of_many_at_once_all_are_told_the_same_step(open_log: Opener) -> None:
    steps = [HISTORY[0], another(HISTORY[0])] * 4
    logs = [open_log() for _ in steps]

    async def race() -> list[LoggedStep]:
        return await asyncio.gather(
            *(log.append(a_task(), step) for log, step in zip(logs, steps, strict=True))
        )

    told = asyncio.run(race())
    assert len({logged.step.after for logged in told}) == 1
    assert_same(load(open_log(), a_task()), told[:1])


def test_histories_of_records_are_apart(open_log: Opener) -> None:
    log = open_log()
    append(log, a_task("r1"), *HISTORY)
    append(log, a_task("r2"), another(HISTORY[0]))
    assert_same(load(open_log(), a_task("r1")), HISTORY)
    assert_same(load(open_log(), a_task("r2")), [another(HISTORY[0])])
    assert load(open_log(), a_task("r3")) == ()


def test_records_may_append_at_the_same_time(open_log: Opener) -> None:
    log = open_log()
    tasks = [a_task(f"r{number}") for number in range(8)]

    async def one(task: EditTask) -> None:
        for logged in HISTORY:
            await log.append(task, logged)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(task) for task in tasks))

    asyncio.run(all_of_them())
    again = open_log()
    for task in tasks:
        assert_same(load(again, task), HISTORY)


def test_only_the_whole_prefix_from_step_0_counts(open_log: Opener) -> None:
    append(open_log(), a_task("gap"), HISTORY[0], HISTORY[2], HISTORY[3])
    append(open_log(), a_task("headless"), HISTORY[1], HISTORY[2])
    assert_same(load(open_log(), a_task("gap")), HISTORY[:1])
    assert load(open_log(), a_task("headless")) == ()


def test_what_stood_after_a_gap_does_not_come_back(open_log: Opener) -> None:
    append(open_log(), a_task(), HISTORY[0], HISTORY[2])
    append(open_log(), a_task(), HISTORY[1])
    assert_same(load(open_log(), a_task()), HISTORY[:2])
