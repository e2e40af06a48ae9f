"""Asking a run to end before all its records did: from a signal handler, a thread, or the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mira_batch.core.types import RunEnd


class StopRequest:
    """A request to end a run in order. The first reason stands.

    `ask` only appends, so that it may be called from a signal handler and from several threads at once.
    """

    def __init__(self) -> None:
        self._reasons: list[tuple[RunEnd, str]] = []
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
        return bool(self._reasons)

    @property
    def end(self) -> RunEnd | None:
        """Why the run is to end; None while it isn't."""
        return self._reasons[0][0] if self._reasons else None

    @property
    def words(self) -> str:
        """The same for people."""
        return self._reasons[0][1] if self._reasons else ""

    def interrupt(self, words: str) -> None:
        """`ask` on behalf of a signal."""
        self.ask(RunEnd.interrupted, words)

    def ask(self, end: RunEnd, words: str) -> None:
        """Ask for the run's end: why, and the same for people. A later reason changes nothing."""
        self._reasons.append((end, words))
