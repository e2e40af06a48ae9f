"""Running out of memory: what is learned of it for the batches to come."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.batch_limits import PATIENCE
from mira_batch.models.serving.microbatch import MicroBatcher
from tests.unit.models.serving.devices import LONG, Device, some, start, wave, waves


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


def is_out_of_room(error: object) -> bool:
    """In a process that has answered no call yet the record is to blame, else it is tried in a fresh one."""
    if isinstance(error, RecordError):
        return error.kind is ErrorKind.editor_out_of_memory
    return isinstance(error, EngineDead) and "ran out of memory with one request alone" in str(error)


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
    assert isinstance(failed, EngineDead), "it is tried in a fresh process"
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
    assert all(is_out_of_room(one) for one in failed)
    halvings = math.ceil(math.log2(max_batch))
    short = sum(len(n) > fits[bucket] or bool(set(n) & hogs) for bucket, n in device.calls)
    learning: dict[Hashable, float] = {
        b: replicas * (halvings + math.log2(1 + len(found) / 32)) for b in fits
    }
    assert short <= sum(learning.values()) + len(failed) * (halvings + 2)
