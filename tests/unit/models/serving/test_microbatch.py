"""The micro-batcher, with interleavings held in place by events; no test waits for a clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.models.serving.roles import Role
from tests.support.models.roles import EDITOR, POLICY

LONG = 30
"""Seconds after which a test that hangs gives up."""


class Model:
    """Answers request x with x * 10; holds the first call until it is let go, so that others gather."""

    def __init__(self, held: bool = False, fault: Callable[[Sequence[Any]], None] | None = None) -> None:
        self.batches: list[list[Any]] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()
        self._fault = fault

    def __call__(self, requests: Sequence[Any]) -> list[Any]:
        self.batches.append(list(requests))
        self.entered.set()
        assert self.go.wait(LONG)
        if self._fault:
            self._fault(requests)
        return [answer(request) for request in requests]


def answer(request: Any) -> Any:
    return request if isinstance(request, Exception) else request * 10


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, LONG))


def batcher(
    *models: Callable[[Sequence[Any]], Sequence[Any]],
    max_batch: int = 8,
    role: Role = EDITOR,
    bucket: Callable[[Any], Any] = lambda request: 0,
) -> MicroBatcher[Any, Any]:
    return MicroBatcher(role, models, bucket, max_batch)


async def outcomes(
    batching: MicroBatcher[Any, Any], requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = ()
) -> list[Any]:
    """The answers or errors of requests submitted in this order, at the same time."""
    ranks = priorities or [()] * len(requests)
    asked = [batching.submit(request, rank) for request, rank in zip(requests, ranks, strict=True)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    await batching.close()
    return [one if isinstance(one, BaseException) else one.value for one in found]


def together(
    model: Model, requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = (), **settings: Any
) -> tuple[list[Any], list[list[Any]]]:
    """The outcomes of requests that all wait behind a first one, and the batches they were run in."""

    async def main() -> list[Any]:
        batching = batcher(model, **settings)
        first = asyncio.create_task(batching.submit(-1, (-1,)))
        await asyncio.to_thread(model.entered.wait, LONG)
        later = asyncio.create_task(outcomes(batching, requests, priorities))
        while len(batching._waiting) < len(requests):
            await asyncio.sleep(0)
        model.go.set()
        assert (await first).value == -10
        return await later

    model.go.clear()
    found = run(main())
    assert model.batches[0] == [-1]
    return found, model.batches[1:]


def batches(requests: Sequence[Any], priorities: Sequence[tuple[int, ...]] = (), **settings: Any) -> Any:
    """What the model is called with for requests that wait together."""
    found, run_in = together(Model(), requests, priorities, **settings)
    assert found == [answer(request) for request in requests]
    return run_in


def test_each_request_gets_its_own_answer() -> None:
    async def main() -> list[Any]:
        return await outcomes(batcher(Model()), range(100))

    assert run(main()) == [10 * i for i in range(100)]


def test_what_waits_is_taken_up_to_the_limit() -> None:
    assert batches(range(1, 8), max_batch=3) == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_lone_request_does_not_wait_for_others() -> None:
    model = Model()

    async def main() -> Any:
        batching = batcher(model)
        found = (await batching.submit(4)).value
        await batching.close()
        return found

    assert run(main()) == 40
    assert model.batches == [[4]]


def test_buckets_are_never_mixed() -> None:
    sizes = [1, 2, 11, 3, 12, 21, 4, 22]
    found = batches(sizes, bucket=lambda size: size // 10, max_batch=3)
    assert found == [[1, 2, 3], [11, 12], [21, 22], [4]]


def test_the_most_urgent_goes_first_and_brings_its_bucket_along() -> None:
    requests = [11, 1, 12, 2, 13, 3]
    ranks = [(5,), (4,), (3,), (2, 9), (1,), (2, 1)]
    found = batches(requests, ranks, bucket=lambda size: size // 10, max_batch=2)
    assert found == [[13, 12], [3, 2], [1], [11]]


def test_equals_go_in_the_order_they_came() -> None:
    assert batches([5, 3, 4, 1], [(1,)] * 4, max_batch=1) == [[5], [3], [4], [1]]


def raises_on(*culprits: int, error: type[BaseException] = ValueError) -> Callable[[Sequence[Any]], None]:
    def fault(requests: Sequence[Any]) -> None:
        if found := [request for request in requests if request in culprits]:
            raise error(f"because of {found}")

    return fault


def failures(found: list[Any]) -> dict[int, tuple[ErrorKind, str]]:
    assert all(isinstance(one, RecordError | int) for one in found), found
    return {i: (one.kind, str(one)) for i, one in enumerate(found) if isinstance(one, RecordError)}


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
def test_alone_and_out_of_memory(role: Role, kind: ErrorKind) -> None:
    found = failures(together(Model(fault=raises_on(2, error=MemoryError)), range(4), role=role)[0])
    assert {index: pair[0] for index, pair in found.items()} == {2: kind}


def test_an_exception_in_a_slot_fails_that_request_alone_and_splits_nothing() -> None:
    requests = [1, ValueError("not this one"), 2, RecordError(ErrorKind.judge_failed, "ours"), MemoryError()]
    (first, bad, second, ours, memory), run_in = together(Model(), requests)
    assert (first, second) == (10, 20)
    assert (bad.kind, str(bad)) == (ErrorKind.editor_failed, "ValueError: not this one")
    assert isinstance(bad.__cause__, ValueError)
    assert ours is requests[3]
    assert memory.kind is ErrorKind.editor_out_of_memory
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


def test_replicas_run_side_by_side() -> None:
    together = threading.Barrier(3)

    def call(requests: Sequence[Any]) -> list[Any]:
        together.wait(LONG)  # passes only when three calls are in progress
        return [threading.current_thread().name] * len(requests)

    async def main() -> list[Any]:
        return await outcomes(batcher(call, call, call, max_batch=1), range(3))

    assert set(run(main())) == {"editor-0", "editor-1", "editor-2"}


def test_a_slow_replica_holds_nobody_else_up() -> None:
    slow, quick = Model(held=True), Model(held=True)

    async def main() -> list[Any]:
        batching = batcher(slow, quick, max_batch=1)
        tasks = [asyncio.create_task(batching.submit(i)) for i in range(20)]
        await asyncio.to_thread(slow.entered.wait, LONG)
        await asyncio.to_thread(quick.entered.wait, LONG)
        quick.go.set()
        waiting = set(tasks)
        while len(waiting) > 1:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        slow.go.set()
        found = [(await task).value for task in tasks]
        await batching.close()
        return found

    assert run(main()) == [10 * i for i in range(20)]
    assert (len(slow.batches), len(quick.batches)) == (1, 19)


def test_close_cancels_what_waits_and_answers_what_runs() -> None:
    model = Model(held=True)

    async def main() -> list[Any]:
        batching = batcher(model, max_batch=1)
        running = asyncio.create_task(batching.submit(1))
        await asyncio.to_thread(model.entered.wait, LONG)
        waiting = asyncio.create_task(batching.submit(2))
        await asyncio.sleep(0)
        await batching.close()
        late = asyncio.create_task(batching.submit(3))
        await asyncio.wait([waiting, late])
        model.go.set()
        return [(await running).value, waiting.cancelled(), late.cancelled(), batching]

    answered, cancelled, late, batching = run(main())
    assert (answered, cancelled, late) == (10, True, True)
    for thread in batching._threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert model.batches == [[1]]


def test_a_cancelled_request_is_not_run() -> None:
    model = Model(held=True)

    async def main() -> Any:
        batching = batcher(model)
        first = asyncio.create_task(batching.submit(0))
        await asyncio.to_thread(model.entered.wait, LONG)
        tasks = [asyncio.create_task(batching.submit(i)) for i in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.go.set()
        found = [(await task).value for task in (first, tasks[0], tasks[2])]
        await batching.close()
        return found

    assert run(main()) == [0, 10, 30]
    assert model.batches == [[0], [1, 3]]


def test_a_request_cancelled_while_it_runs_harms_nobody() -> None:
    model = Model(held=True)

    async def main() -> Any:
        batching = batcher(model)
        tasks = [asyncio.create_task(batching.submit(i)) for i in (1, 2)]
        await asyncio.to_thread(model.entered.wait, LONG)
        tasks[0].cancel()
        await asyncio.sleep(0)
        model.go.set()
        found = (await tasks[1]).value
        await batching.close()
        return found

    assert run(main()) == 20


def test_a_call_that_outlives_its_loop_ends_quietly() -> None:
    model = Model(held=True)

    async def main() -> MicroBatcher[Any, Any]:
        batching = batcher(model)
        task = asyncio.create_task(batching.submit(1))
        await asyncio.to_thread(model.entered.wait, LONG)
        task.cancel()
        await batching.close()
        return batching

    batching = run(main())
    model.go.set()
    for thread in batching._threads:
        thread.join(LONG)  # an exception in a thread would be a warning, and that an error
        assert not thread.is_alive()


def test_seconds_are_shared_out_and_add_up() -> None:
    model = Model(held=True)

    async def main() -> Any:
        batching = batcher(model, max_batch=4)
        tasks = [asyncio.create_task(batching.submit(i)) for i in range(6)]
        await asyncio.to_thread(model.entered.wait, LONG)
        model.go.set()
        found = [await task for task in tasks]
        await batching.close()
        return found, batching

    found, batching = run(main())
    assert sum(timed.usage["editor"] for timed in found) == pytest.approx(batching.usage["editor"])
    for batch in model.batches:
        assert len({found[request].usage["editor"] for request in batch}) == 1
    assert all(timed.usage["waiting"] >= 0 and timed.usage["policy"] == 0 for timed in found)


def test_each_call_is_told_of_and_one_that_failed_answered_nobody() -> None:
    told: list[tuple[str, float, float, int]] = []

    def too_large(requests: Sequence[Any]) -> None:
        if len(requests) > 2:
            raise MemoryError

    async def main() -> tuple[list[Any], MicroBatcher[Any, Any]]:
        batching = batcher(Model(fault=too_large), max_batch=4)
        batching.on_call = lambda *call: told.append(call)
        return await outcomes(batching, range(4)), batching

    found, batching = run(main())
    assert found == [0, 10, 20, 30]
    assert [call[3] for call in told] == [0, 2, 2] and {call[0] for call in told} == {"editor-0"}
    seconds = [end - begin for _, begin, end, _ in told]
    assert batching.usage["retried"] == pytest.approx(seconds[0])
    assert batching.usage["editor"] == pytest.approx(sum(seconds[1:]))
    assert batching.usage["editor_waiting"] >= 4 * seconds[0], "the call that failed is part of their wait"


def test_answers_are_finished_while_the_model_is_at_its_next_call() -> None:
    model, finishing, finish = Model(), threading.Event(), threading.Event()

    def slowly(value: int) -> str:
        finishing.set()
        assert finish.wait(LONG)
        if value == 20:
            raise ValueError("no such answer")
        return f"finished {value}"

    async def main() -> list[Any]:
        role = replace(EDITOR, check=slowly, check_apart=True)
        batching: MicroBatcher[Any, Any] = MicroBatcher(role, [model], lambda request: 0, 1)
        asked = asyncio.create_task(outcomes(batching, [1, 2, 3]))
        await asyncio.to_thread(finishing.wait, LONG)
        while len(model.batches) < 3:  # none is finished, and the model went on
            await asyncio.sleep(0.001)
        finish.set()
        return await asked

    one, two, three = run(main())
    assert (one, three) == ("finished 10", "finished 30")
    assert isinstance(two, RecordError) and two.kind is ErrorKind.editor_failed


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
