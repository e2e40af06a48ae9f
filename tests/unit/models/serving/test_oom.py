"""Running out of memory: what is tried, what is learned of it, and who fails."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.batch_limits import PATIENCE, CallsInProgress
from mira_batch.models.serving.microbatch import MicroBatcher
from tests.support.models.roles import EDITOR, POLICY

LONG = 30
"""Seconds after which a test that hangs gives up."""
PLUG = -1
"""A request that keeps a replica busy while those of a wave gather."""


class Device:
    """Answers (bucket, x) with x * 10, as long as no more than `fits` of a bucket come at once."""

    def __init__(self, fits: dict[str, int], hogs: Sequence[int] = ()) -> None:
        self.fits = fits
        self.hogs = hogs
        self.calls: list[tuple[str, list[int]]] = []
        self.answered: Counter[int] = Counter()
        self.go = threading.Event()

    def __call__(self, requests: Sequence[tuple[str, int]]) -> list[int]:
        if requests[0][1] == PLUG:
            assert self.go.wait(LONG)
            return [0]
        [bucket] = {bucket for bucket, _ in requests}
        numbers = [number for _, number in requests]
        self.calls.append((bucket, numbers))
        if len(requests) > self.fits[bucket] or set(numbers) & set(self.hogs):
            raise MemoryError(f"{len(requests)} do not fit")
        self.answered.update(numbers)
        return [10 * number for number in numbers]

    def sizes(self, bucket: str = "a") -> list[int]:
        return [len(numbers) for name, numbers in self.calls if name == bucket]


def start(*calls: Callable[[Sequence[Any]], Sequence[Any]], max_batch: int = 8) -> MicroBatcher[Any, Any]:
    return MicroBatcher(EDITOR, calls, lambda request: request[0], max_batch)


async def wave(
    batching: MicroBatcher[Any, Any], device: Device, requests: Sequence[tuple[str, int]], replicas: int = 1
) -> list[Any]:
    """The outcomes of requests that all wait before the first is taken, the first the most urgent."""
    device.go.clear()
    plugs = [asyncio.create_task(batching.submit((f"plug {i}", PLUG), (-1,))) for i in range(replicas)]
    while len(batching._running) < replicas:
        await asyncio.sleep(0.0001)
    asked = [asyncio.create_task(batching.submit(r, (i,))) for i, r in enumerate(requests)]
    while len(batching._waiting) < len(requests):
        await asyncio.sleep(0)
    device.go.set()
    await asyncio.gather(*plugs)
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [one if isinstance(one, BaseException) else one.value for one in found]


def waves(device: Device, *sets: Sequence[tuple[str, int]], **options: Any) -> MicroBatcher[Any, Any]:
    """Run waves one after the other, each of which must be answered in full."""

    async def main() -> MicroBatcher[Any, Any]:
        batching = start(device, **options)
        for requests in sets:
            found = await wave(batching, device, requests)
            assert found == [10 * number for _, number in requests]
        await batching.close()
        return batching

    return asyncio.run(asyncio.wait_for(main(), LONG))


def some(count: int, bucket: str = "a", since: int = 0) -> list[tuple[str, int]]:
    return [(bucket, number) for number in range(since, since + count)]


@pytest.mark.parametrize(
    ("fits", "first", "second"),
    [
        (8, [8], [8]),
        (7, [8, 4, 4], [4, 4]),
        (4, [8, 4, 4], [4, 4]),
        (3, [8, 4, 2, 2, 2, 2], [2, 2, 2, 2]),
        (1, [8, 4, 2] + [1] * 8, [1] * 8),
    ],
)
def test_what_fits_is_remembered(fits: int, first: list[int], second: list[int]) -> None:
    device = Device({"a": fits})
    batching = waves(device, some(8), some(8, since=8))
    assert device.sizes() == first + second
    assert batching.out_of_memory == sum(size > fits for size in first)
    numbers = [numbers for _, numbers in device.calls if len(numbers) <= fits]
    assert sum(numbers, []) == list(range(16)), "the urgent go first, also when they are cut"


def test_a_batch_of_odd_size_is_cut_by_what_is_learned() -> None:
    device = Device({"a": 2})
    waves(device, some(7))
    assert device.sizes() == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_buckets_are_learned_apart() -> None:
    device = Device({"a": 1, "b": 8})
    waves(device, some(4), some(8, "b"), some(2), some(8, "b"))
    assert (device.sizes("a"), device.sizes("b")) == ([4, 2, 1, 1, 1, 1, 1, 1], [8, 8])


def test_replicas_learn_together() -> None:
    device, both = Device({"a": 2}), threading.Barrier(2)

    def call(requests: Sequence[tuple[str, int]]) -> list[int]:
        if requests[0][1] >= 100:
            both.wait(LONG)  # passes only while both replicas are in a call
        return device(requests)

    async def main() -> None:
        batching = start(call, call)
        await wave(batching, device, some(8), replicas=2)
        learned = len(device.calls)
        assert await wave(batching, device, some(8, since=100), replicas=2) == [*range(1000, 1080, 10)]
        assert device.sizes()[learned:] == [2, 2, 2, 2]
        await batching.close()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_a_record_too_large_fails_alone_and_teaches_nothing() -> None:
    device = Device({"a": 8}, hogs=[5])

    async def main() -> list[Any]:
        batching = start(device)
        found = await wave(batching, device, some(8))
        found += await wave(batching, device, some(8, since=8))
        await batching.close()
        assert batching.out_of_memory == 4
        return found

    found = asyncio.run(asyncio.wait_for(main(), LONG))
    failed = found.pop(5)
    assert isinstance(failed, RecordError) and failed.kind is ErrorKind.editor_out_of_memory
    assert found == [10 * i for i in range(16) if i != 5]
    assert device.sizes() == [8, 4, 4, 2, 1, 1, 2, 8]


def test_a_record_too_large_does_not_hide_that_memory_is_short() -> None:
    device = Device({"a": 2}, hogs=[0])

    async def main() -> None:
        batching = start(device)
        await wave(batching, device, some(8))
        await wave(batching, device, some(4, since=8))
        await batching.close()

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert device.sizes() == [8, 4, 2, 1, 1, 2, 4, 2, 2, 2, 2]


def test_other_faults_teach_nothing() -> None:
    device = Device({"a": 8})

    def call(requests: Sequence[tuple[str, int]]) -> list[int]:
        if ("a", 3) in requests:
            raise ValueError("three")
        return device(requests)

    async def main() -> None:
        batching = start(call)
        await wave(batching, device, some(8))
        await wave(batching, device, some(8, since=8))
        await batching.close()
        assert batching.out_of_memory == 0

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert device.sizes() == [2, 1, 4, 8]


def test_a_limit_comes_back_one_by_one_and_is_forgotten() -> None:
    device = Device({"a": 2})

    async def main() -> None:
        batching = start(device, max_batch=4)
        await wave(batching, device, some(4))
        device.fits["a"] = 4
        await wave(batching, device, some(PATIENCE * (2 + 3 + 4), since=4))
        assert len(batching._limits) == 0
        await batching.close()

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert device.sizes() == [4, 2, 2] + [2] * PATIENCE + [3] * PATIENCE + [4] * PATIENCE


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
        assert isinstance(found, RecordError) and found.kind is ErrorKind.editor_out_of_memory


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
        assert isinstance((await wave(batching, device, some(1)))[0], RecordError)
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


async def arriving(
    batching: MicroBatcher[Any, Any], bursts: Sequence[Sequence[tuple[str, int]]]
) -> list[tuple[int, Any]]:
    """Every request with its outcome. Bursts follow upon each other after a turn of the event loop."""
    asked: list[tuple[int, asyncio.Task[Any]]] = []
    for burst in bursts:
        for bucket, rank in burst:
            number = len(asked)
            asked.append((number, asyncio.create_task(batching.submit((bucket, number), (rank,)))))
        await asyncio.sleep(0)
    found = await asyncio.gather(*(task for _, task in asked), return_exceptions=True)
    await batching.close()
    return [(number, one) for (number, _), one in zip(asked, found, strict=True)]


@settings(max_examples=15, deadline=None)  # each frees memory for real, some 0.1 s at a time
@given(
    st.fixed_dictionaries({"a": st.integers(1, 10), "b": st.integers(1, 10)}),
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=40), max_size=8),
    st.integers(1, 2),
    st.sampled_from([1, 5, 8]),
    st.sets(st.integers(0, 100), max_size=2),
)
def test_each_request_is_answered_once_whatever_the_memory(
    fits: dict[str, int],
    bursts: list[list[tuple[str, int]]],
    replicas: int,
    max_batch: int,
    hogs: set[int],
) -> None:
    device = Device(fits, tuple(hogs))

    async def main() -> list[tuple[int, Any]]:
        return await arriving(start(*[device] * replicas, max_batch=max_batch), bursts)

    found = asyncio.run(asyncio.wait_for(main(), LONG))
    served = {number: one.value for number, one in found if not isinstance(one, BaseException)}
    assert served == {number: 10 * number for number, _ in found if number not in hogs}
    assert device.answered == Counter(served.keys())
    failed = [one for number, one in found if number in hogs]
    assert all(isinstance(one, RecordError) and one.kind is ErrorKind.editor_out_of_memory for one in failed)
    halvings = math.ceil(math.log2(max_batch))
    short = sum(len(n) > fits[bucket] or bool(set(n) & hogs) for bucket, n in device.calls)
    learning: dict[Hashable, float] = {
        b: replicas * (halvings + math.log2(1 + len(found) / 32)) for b in fits
    }
    assert short <= sum(learning.values()) + len(failed) * (halvings + 2)
