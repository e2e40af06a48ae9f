"""How far a command is that counts its way: a bar in a terminal, and a line now and then in a log."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

_LINE_SECONDS = 10.0


class CountProgress:
    """A context manager."""

    def __init__(self, console: Console, *more: ProgressColumn) -> None:
        """
        Args:
            console: where it is shown.
            more: columns of the bar behind its counts.
        """
        self._console = console
        self._more = more
        self._bar: Progress | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *self._more
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.__enter__()
            self._bar.add_task("", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show(self, title: str, done: int, total: int, line: str) -> None:
        """So many of so many are done.

        Args:
            title: of the bar.
            done, total: its counts.
            line: what a log says in its place.
        """
        if self._bar is not None:
            with suppress(IndexError):
                self._bar.update(self._bar.task_ids[0], description=title, completed=done, total=total)
        elif time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self._console.print(line, highlight=False, markup=False)
