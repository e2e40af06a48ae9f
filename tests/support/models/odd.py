"""Models that a user might bring and that go wrong in ways which no Protocol foresees, by name of the way.

The editor does so with records that are called odd-…, and mirrors all others; the policy asks for one edit.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Hashable, Sequence
from typing import Any, NoReturn

from PIL import Image, ImageOps

from mira_batch.core.ports import EditRequest, PolicyRequest

HOSTILE = "\x1b[31mred\x1b[0m \x00 \ud800 \u202e " + "m" * 100_000
"""A message that moves cursors, can't be encoded, and is far too long."""


class Mute(Exception):
    """Its text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class MuteRuntime(RuntimeError):
    """The same of the class whose text tells a dead GPU."""

    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__


class Unpicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")
        self.lock = threading.Lock()


class ExitingImage(Image.Image):
    """An image that ends the thread that looks at it."""

    def load(self) -> Any:
        sys.exit(4)


def leave(error: BaseException) -> NoReturn:
    raise error


RAISED = {
    "mute": Mute(),
    "mute-runtime": MuteRuntime(),
    "hostile": ValueError(HOSTILE),
    "unpicklable": Unpicklable(1, 2),
    "stop-iteration": StopIteration("s"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "base": BaseException("base"),
    "cancelled": asyncio.CancelledError("c"),
    "generator-exit": GeneratorExit(),
    "too-large": MemoryError("too large"),
}


LEAK = 5
"""Requests that a process has memory for, where the way is to leak."""
_served = 0
"""Requests that this process has served."""


class Editor:
    max_batch = 4

    def __init__(self, way: str = "", bucket: str = "", identity: str = "odd/1") -> None:
        self._way, self._odd_bucket, self.identity = way, bucket, identity

    def bucket(self, request: EditRequest) -> Hashable:
        if self._odd_bucket and request.record_id.startswith("odd"):
            leave(RAISED[self._odd_bucket])
        return request.image.size

    def apply(self, requests: Sequence[EditRequest]) -> Any:
        if self._way == "leaks":
            leak(len(requests))
        mirrored: list[Any] = [ImageOps.mirror(request.image.pixels) for request in requests]
        odd = [at for at, request in enumerate(requests) if request.record_id.startswith("odd")]
        if not odd:
            return mirrored
        if self._way in RAISED:
            leave(RAISED[self._way])
        answer = self._answer(mirrored[odd[0]])
        if self._way.startswith("all-"):
            return answer
        for at in odd:
            mirrored[at] = answer
        return mirrored

    def _answer(self, mirrored: Image.Image) -> Any:
        match self._way:
            case "returned-mute":
                return Mute()
            case "returned-exit":
                return SystemExit(3)
            case "class":
                return ValueError
            case "exiting-image":
                image = ExitingImage()
                image.__dict__.update(mirrored.__dict__)
                return image
            case "all-none":
                return None
            case "all-few":
                return []
            case "all-endless":
                return itertools.repeat(mirrored)
            case "all-mapping":
                return {0: mirrored}
            case "all-text":
                return "m"
            case "all-one":
                return mirrored
        return mirrored


class Policy:
    max_batch = 4
    identity = "asks-once/1"

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return ["<stop>done</stop>" if request.history else "<edit>mirror it</edit>" for request in requests]


class LeakingPolicy(Policy):
    identity = "leaks/1"

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        leak(len(requests), 2 * LEAK)
        return super().propose(requests)


def leak(requests: int, most: int = LEAK) -> None:
    """Serve so many requests, as long as there is memory left, which is for `most` of them."""
    global _served
    if _served + requests > most:
        raise MemoryError(f"{_served} served, {requests} do not fit")
    _served += requests


def make_policy() -> Policy:
    return Policy()


def make_leaking_policy() -> Policy:
    return LeakingPolicy()


def make_editor(**options: str) -> Editor:
    return Editor(**options)


def make_nothing(way: str) -> NoReturn:
    """A factory that doesn't come back."""
    if way == "os-exit":
        os._exit(7)
    leave(RAISED[way])


def odd(editor: str = "make_editor", policy: str = "make_policy", **options: Any) -> dict[str, Any]:
    """The models of a config."""
    factory = f"{__name__}:{editor}"
    return {
        "policy": {"type": "custom", "factory": f"{__name__}:{policy}"},
        "editor": {"type": "custom", "factory": factory, "options": options},
    }
