"""Running out of memory: what is tried again and when, and who fails."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from mira_batch.core.errors import EngineDead
from mira_batch.models.serving.batch_limits import CallsInProgress
from mira_batch.models.serving.microbatch import MicroBatcher
from tests.support.models.roles import EDITOR, POLICY
from tests.unit.models.serving.devices import LONG, Device, some, start, wave


class Shared:
    """Memory for one request, that two replicas share: who comes second runs out of it."""

    def __init__(self) -> None:
        self.taken = threading.Lock()
        self.entered, self.go, self.refused = threading.Event(), threading.Event(), threading.Event()
        self.calls: list[str] = []

    def __call__(self, requests: Sequence[tuple[str, int]]) -> list[int]:
        [(name, number)] = requests
        self.calls.append(name)
        if name == "hog" or not self.taken.acquire(blocking=False):
            self.refused.set()
            raise MemoryError(name)
        try:
            if name == "slow":
                self.entered.set()
                assert self.go.wait(LONG)
            return [10 * number]
        finally:
            self.taken.release()


@pytest.mark.parametrize(("name", "answered"), [("quick", True), ("hog", False)])
def test_nobody_fails_because_another_replica_has_the_memory(name: str, answered: bool) -> None:
    shared = Shared()

    async def main() -> Any:
        batching = start(shared, shared, max_batch=1)
        slow = asyncio.create_task(batching.submit(("slow", 1)))
        await asyncio.to_thread(shared.entered.wait, LONG)
        other = asyncio.create_task(batching.submit((name, 2)))
        await asyncio.to_thread(shared.refused.wait, LONG)
        await asyncio.sleep(0.02)
        assert not other.done() and shared.calls == ["slow", name], "it waits for the other to leave"
        later = asyncio.create_task(batching.submit(("quick", 3)))
        shared.go.set()
        assert (await slow).value == 10 and (await later).value == 30
        [found] = await asyncio.gather(other, return_exceptions=True)
        await batching.close()
        return found

    found = asyncio.run(asyncio.wait_for(main(), LONG))
    assert shared.calls.count(name) - (name == "quick") == 2
    if answered:
        assert found.value == 20
    else:
        assert isinstance(found, EngineDead), "it is tried in a fresh process"


def test_nobody_fails_because_another_model_has_the_memory() -> None:
    """A policy and an editor on one GPU: the edit is made again when the policy's call is over."""
    shared, calls = Shared(), CallsInProgress()

    async def main() -> Any:
        policy = MicroBatcher(POLICY, [shared], lambda request: request[0], 1, in_progress=calls)
        editor = MicroBatcher(EDITOR, [shared], lambda request: request[0], 1, in_progress=calls)
        slow = asyncio.create_task(policy.submit(("slow", 1)))
        await asyncio.to_thread(shared.entered.wait, LONG)
        edit = asyncio.create_task(editor.submit(("quick", 2)))
        await asyncio.to_thread(shared.refused.wait, LONG)
        await asyncio.sleep(0.02)
        assert not edit.done()
        shared.go.set()
        found = [(await task).value for task in (slow, edit)]
        await policy.close()
        await editor.close()
        return found

    assert asyncio.run(asyncio.wait_for(main(), LONG)) == [10, 20]
    assert shared.calls == ["slow", "quick", "quick"]


def test_one_replica_does_not_try_a_lone_request_twice() -> None:
    device = Device({"a": 0})

    async def main() -> None:
        batching = start(device)
        assert isinstance((await wave(batching, device, some(1)))[0], EngineDead)
        await batching.close()

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert device.sizes() == [1]


class Tensor:
    """Something large."""


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_what_a_call_held_is_free_before_the_next(size: int, cycle: bool) -> None:
    """A traceback keeps the call's locals alive, and so does a cycle until it is collected."""
    held: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []

    def call(requests: Sequence[tuple[str, int]]) -> list[int]:
        alive.append(any(ref() is not None for ref in held))
        tensor: Any = Tensor()
        held.append(weakref.ref(tensor))
        if cycle:
            tensor.itself = tensor
        if len(alive) == 1:
            try:
                raise ValueError("a first fault")
            except ValueError as error:
                raise MemoryError from error
        return [0] * len(requests)

    async def main() -> list[Any]:
        batching = start(call, max_batch=size)
        asked = [asyncio.create_task(batching.submit(r)) for r in some(2)]
        kept = await asyncio.gather(*asked, return_exceptions=True)
        await batching.close()
        return kept

    gc.collect()
    gc.disable()
    try:
        kept = asyncio.run(asyncio.wait_for(main(), LONG))
    finally:
        gc.enable()
    assert alive[:2] == [False, False] and len(kept) == 2
