"""Asking a run to end before all its records did: from a signal handler, a thread, or the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mira_batch.core.types import RunEnd


class StopRequest:
    """A request to end a run in order. The first reason stands.

    `ask` only assigns, so that it may be called from a signal handler.
    """

    def __init__(self) -> None:
        self.end: RunEnd | None = None
        """Why the run is to end; None while it isn't."""
        self.words = ""
        """The same for people."""
        self.heeded = False
        """Whether a run now heeds it, having steps in hand to finish. Until then there is nothing to lose,
        and who wants to stop it just interrupts it."""

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Inside it is heeded: somebody looks whether the run is to end, and nobody interrupts it.

        An exception in the middle would end Ray under threads that still use it, which crashes them or makes
        them start another.
        """
        before, self.heeded = self.heeded, True
        try:
            yield
        finally:
            self.heeded = before

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        return self.end is not None

    def interrupt(self, words: str) -> None:
        """`ask` on behalf of a signal."""
        self.ask(RunEnd.interrupted, words)

    def ask(self, end: RunEnd, words: str) -> None:
        """Ask for the run's end: why, and the same for people. A later reason changes nothing."""
        if self.end is None:
            self.words = words
            self.end = end
