"""A device with room for so many requests at once, and waves of requests for it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mira_batch.models.serving.microbatch import MicroBatcher
from tests.support.models.roles import EDITOR

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
