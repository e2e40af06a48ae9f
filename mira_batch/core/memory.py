"""Memory that is free, and that the C library keeps."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_memory() -> None:
    """Have the C library give back to the system what it holds free.

    Of what many threads allocate and free in turn glibc keeps pages here and there, a few more from minute to
    minute, and gives back by itself only what lies at the end of a heap. Takes a millisecond or two. Without
    effect on other C libraries.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
