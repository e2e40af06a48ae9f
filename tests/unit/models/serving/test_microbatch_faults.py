"""The micro-batcher: who fails by a fault of the model, and with which error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.models.serving.roles import Role
from tests.support.models.roles import EDITOR, POLICY
from tests.unit.models.serving.microbatches import (
    Model,
    batcher,
    failures,
    outcomes,
    raises_on,
    run,
    together,
)


@pytest.mark.parametrize("culprits", [(3,), (0, 7), (1, 2, 6), tuple(range(8))])
def test_only_the_culprits_fail(culprits: tuple[int, ...]) -> None:
    found, _ = together(Model(fault=raises_on(*culprits)), range(8))
    assert failures(found) == {
        i: (ErrorKind.editor_failed, f"ValueError: because of [{i}]") for i in culprits
    }
    assert [one for one in found if isinstance(one, int)] == [10 * i for i in range(8) if i not in culprits]


def test_halving_finds_one_culprit_in_few_calls() -> None:
    _, run_in = together(Model(fault=raises_on(5)), range(8))
    assert run_in == [list(range(8)), [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]


def test_an_error_of_our_own_keeps_its_kind() -> None:
    own = RecordError(ErrorKind.instruction_unclear, "what is 'frobnicate'?")

    def fault(requests: Sequence[Any]) -> None:
        if 1 in requests:
            raise own

    found, _ = together(Model(fault=fault), range(3), role=POLICY)
    assert found == [0, own, 20]


def test_a_batch_that_runs_out_of_memory_is_halved_until_it_fits() -> None:
    def fault(requests: Sequence[Any]) -> None:
        if len(requests) > 2:
            raise MemoryError

    found, run_in = together(Model(fault=fault), range(8))
    assert found == [10 * i for i in range(8)]
    assert [len(batch) for batch in run_in] == [8, 4, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("role", "kind"), [(EDITOR, ErrorKind.editor_out_of_memory), (POLICY, ErrorKind.policy_failed)]
)
def test_alone_and_out_of_memory_in_a_fresh_process(role: Role, kind: ErrorKind) -> None:
    async def main() -> list[Any]:
        return await outcomes(batcher(Model(fault=raises_on(2, 3, error=MemoryError)), role=role), [2, 3])

    assert [error.kind for error in run(main())] == [kind, kind]


@pytest.mark.parametrize("role", [EDITOR, POLICY])
def test_alone_and_out_of_memory_where_calls_were_answered_before(role: Role) -> None:
    """Memory may have leaked: then any record would fail now, and none is to blame."""
    found, _ = together(Model(fault=raises_on(2, error=MemoryError)), range(4), role=role)
    dead = found.pop(2)
    assert found == [0, 10, 30]
    assert isinstance(dead, EngineDead) and dead.kind is None
    assert f"the {role.name} ran out of memory with one request alone, in a process that has" in str(dead)


def test_memory_that_runs_out_when_an_answer_is_looked_at_is_the_process_s_fault() -> None:
    def check(answer: Any) -> Any:
        if answer == 20:
            raise MemoryError("no room for its digest")
        return answer

    async def main() -> list[Any]:
        return await outcomes(batcher(Model(), role=replace(EDITOR, check=check)), [1, 2])

    fine, dead = run(main())
    assert fine == 10 and isinstance(dead, EngineDead) and "no room for its digest" in str(dead)


def test_an_exception_in_a_slot_fails_that_request_alone_and_splits_nothing() -> None:
    requests = [1, ValueError("not this one"), 2, RecordError(ErrorKind.judge_failed, "ours"), MemoryError()]
    (first, bad, second, ours, memory), run_in = together(Model(), requests)
    assert (first, second) == (10, 20)
    assert (bad.kind, str(bad)) == (ErrorKind.editor_failed, "ValueError: not this one")
    assert isinstance(bad.__cause__, ValueError)
    assert ours is requests[3]
    assert isinstance(memory, EngineDead)
    assert run_in == [requests]


def test_a_stop_iteration_is_an_error_like_others() -> None:
    async def main() -> list[Any]:
        return await outcomes(batcher(Model()), [StopIteration("odd"), 1])

    odd, fine = run(main())
    assert isinstance(odd, RecordError) and fine == 10


@pytest.mark.parametrize(
    "wrong", [lambda requests: [], lambda requests: [1] * (len(requests) + 1), lambda requests: None]
)
def test_a_wrong_number_of_answers_fails_whoever_asked(wrong: Callable[..., Any]) -> None:
    async def main() -> list[Any]:
        return await outcomes(batcher(wrong), range(3))

    assert set(failures(run(main()))) == {0, 1, 2}


def test_a_dead_engine_reaches_all_of_its_batch_and_is_not_tried_again() -> None:
    found, run_in = together(Model(fault=raises_on(2, error=EngineDead)), range(4))
    assert [type(one) for one in found] == [EngineDead] * 4
    assert run_in == [[0, 1, 2, 3]]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_model_that_ends_its_thread_is_a_dead_engine_and_no_hang(error: type[BaseException]) -> None:
    ranks = [(0,), (0,), (1,)]
    model = Model(fault=raises_on(1, error=error))
    (first, second, later), _ = together(model, [0, 1, 7], ranks, max_batch=2)
    assert type(first) is type(second) is EngineDead and error.__name__ in str(first)
    assert later == 70


def test_a_bucket_that_raises_fails_its_request() -> None:
    def bucket(request: Any) -> Any:
        return {1: [], 2: None}[request]  # 1 can't be hashed, 3 isn't there

    async def main() -> list[Any]:
        return await outcomes(batcher(Model(), bucket=bucket), [1, 2, 3])

    unhashable, fine, missing = run(main())
    assert (unhashable.kind, str(unhashable)) == (
        ErrorKind.editor_failed,
        "TypeError: unhashable type: 'list'",
    )
    assert fine == 20
    assert (missing.kind, str(missing)) == (ErrorKind.editor_failed, "KeyError: 3")


def test_a_call_over_its_time_is_given_up_and_names_its_kind() -> None:
    release = threading.Event()

    def call(requests: Sequence[int]) -> list[int]:
        release.wait(10)
        return list(requests)

    async def scenario() -> EngineDead:
        batcher: MicroBatcher[int, int] = MicroBatcher(EDITOR, [call], lambda r: None, 4, limit_seconds=0.05)
        try:
            with pytest.raises(EngineDead) as caught:
                await batcher.submit(1)
            return caught.value
        finally:
            release.set()
            await batcher.close()

    error = asyncio.run(scenario())
    assert error.kind is ErrorKind.step_timeout and "editor call of 1 request took longer" in str(error)


def test_a_sticky_cuda_error_is_a_dead_engine_and_not_the_records_fault() -> None:
    def call(requests: Sequence[int]) -> list[int]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def scenario() -> list[BaseException]:
        batcher: MicroBatcher[int, int] = MicroBatcher(EDITOR, [call], lambda r: None, 4)
        try:
            return await asyncio.gather(*(batcher.submit(i) for i in range(3)), return_exceptions=True)  # type: ignore[return-value]
        finally:
            await batcher.close()

    outcomes = asyncio.run(scenario())
    assert all(isinstance(outcome, EngineDead) and outcome.kind is None for outcome in outcomes)
