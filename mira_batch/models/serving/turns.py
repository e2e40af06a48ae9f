"""A lock for what several models have in common: their calls go one after another, in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Turns:
    """A context manager that one thread at a time is in, and may enter again.

    First come, first served. A plain lock goes to whoever asks at the right moment, which is nearly always
    the thread that has just let it go: of two models with work to do, one would wait for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asking: deque[object] = deque()
        self._holder: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if self._holder != me:
                self._wait()
                self._holder = me
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._holder = None
                self._changed.notify_all()

    def _wait(self) -> None:
        place = object()
        self._asking.append(place)
        try:
            self._changed.wait_for(lambda: self._holder is None and self._asking[0] is place)
        finally:
            self._asking.remove(place)
            self._changed.notify_all()
