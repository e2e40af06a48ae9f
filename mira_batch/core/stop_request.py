"""Asking a run to end before all its records did: from a signal handler, a thread, or the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from mira_batch.core.types import RunEnd


class StopRequest:
    """A request to end a run in order. The first reason stands.

    `ask` only appends, so that it may be called from a signal handler and from several threads at once.
    """

    def __init__(self, outer: StopRequest | None = None) -> None:
        """
        Args:
            outer: what is asked of that is asked of this as well.
        """
        self._outer = outer
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
            with nullcontext() if self._outer is None else self._outer.heeding():
                yield
        finally:
            self.heeded = before

    def nest(self) -> StopRequest:
        """One for a run that is a part of something: this one ends it, its own limits end nothing else."""
        return StopRequest(self)

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        return self._find() is not None

    @property
    def end(self) -> RunEnd | None:
        """Why the run is to end; None while it isn't."""
        found = self._find()
        return None if found is None else found[0]

    @property
    def words(self) -> str:
        """The same for people."""
        found = self._find()
        return "" if found is None else found[1]

    def _find(self) -> tuple[RunEnd, str] | None:
        if self._reasons:
            return self._reasons[0]
        return None if self._outer is None else self._outer._find()

    def interrupt(self, words: str) -> None:
        """`ask` on behalf of a signal."""
        self.ask(RunEnd.interrupted, words)

    def ask(self, end: RunEnd, words: str) -> None:
        """Ask for the run's end: why, and the same for people. A later reason changes nothing."""
        self._reasons.append((end, words))
