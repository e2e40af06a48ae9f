"""The micro-batcher: what becomes of requests when it is closed or they are cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

from mira_batch.models.serving.microbatch import MicroBatcher
from tests.unit.models.serving.microbatches import LONG, Model, batcher, run


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
