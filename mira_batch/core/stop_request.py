"""Asking a run to end before all its records did: from a signal handler, a thread, or the run itself."""

from __future__ import annotations

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

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        return self.end is not None

    def ask(self, end: RunEnd, words: str) -> None:
        """Ask for the run's end: why, and the same for people. A later reason changes nothing."""
        if self.end is None:
            self.words = words
            self.end = end
