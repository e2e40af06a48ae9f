"""Reads again what seems to be damaged, before it is called so.

A store, or what lies between, may answer with less than there is, or with zeroes, in a body whose length fits
its header: nobody notices until the contents make no sense. Asked again it mostly tells the truth.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from operator import eq
from typing import TypeVar

from mira_batch.core.errors import StoreError, describe
from mira_batch.storage.stores.fetches import FetchStopped

T = TypeVar("T")


def read_surely(
    read: Callable[[], bytes | None],
    parse: Callable[[bytes], T],
    find_size: Callable[[], int | None],
    seconds: float,
    where: str,
    stopped: Callable[[], bool] = lambda: False,
    alike: Callable[[bytes, bytes], bool] = eq,
) -> T | None:
    """What `parse` makes of what `read` reads; None where there is nothing to read.

    What it can't make sense of is read again. It counts as damaged when two reads in a row gave the same,
    and as many bytes as the store says there are.

    Args:
        read: reads it, by a request of its own each time.
        parse: raises whatever it likes where the bytes are damaged.
        find_size: asks the store for the size in bytes; None where it doesn't say.
        seconds: for how long reads that differ are tried again. There are two at least.
        where: what is read, for messages.
        stopped: whether to go on no longer.
        alike: whether two reads gave the same.

    Raises:
        FetchStopped: it was given up.
        StoreError: each read gave something else, or something else than the size that the store says.
        Exception: whatever `parse` raised, of what is damaged for good.
    """
    began, pause = time.monotonic(), 0.1
    before: bytes | None = None
    while True:
        data = read()
        if data is None:
            return None
        try:
            return parse(data)
        except Exception as error:
            if before is not None and alike(before, data) and find_size() in (None, len(data)):
                raise
            if stopped():
                raise FetchStopped from error
            if before is not None and time.monotonic() - began >= seconds:
                raise StoreError(
                    f"{where}: each read gives something else than the store holds "
                    f"({describe(error)[:200]}), so the object itself may be good: leave it, look at the "
                    "store and at what lies in between, and run the same command again"
                ) from error
            if before is not None:
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(2 * pause, 5.0)
            before = data
