"""How far an export is, and what came of it, for people."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 10.0


class ExportProgress:
    """A bar in a terminal, and a line now and then in a log. A context manager."""

    def __init__(self, console: Console) -> None:
        """`console`: where it is shown."""
        self._console = console
        self._bar: Progress | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns: list[Any] = [TextColumn("exporting"), BarColumn(), MofNCompleteColumn()]
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._bar.__enter__()
            self._bar.add_task("", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def tell(self, done: int, total: int) -> None:
        """So many records of so many are written."""
        if self._bar is not None:
            with suppress(IndexError):
                self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self._console.print(f"{done:,} of {total:,} records", highlight=False, markup=False)


def describe_export(found: dict[str, Any]) -> list[str]:
    """What came of an export, a line for each count that is not zero.

    Args:
        found: as `ExportSummary.dump` gives it.
    """
    would = "would be " if found["dry_run"] else ""
    size = f", {found['bytes'] / 1e6:,.1f} MB" if found["bytes"] else ""
    lines = [f"{found['exported']:,} of {found['records']:,} records {would}exported{size}"]
    words = {
        "already": "there already",
        "not_selected": "not selected",
        "gone": "gone from the manifest",
        "not_ok": "not ok",
        "not_approved": "not approved",
        "left_over": f"more {would}written, as an export that was cut short had begun with them",
        "other_format": "in the format of the results, as their source's name ends in none that is written",
    }
    lines += [f"{found[name]:,} {text}" for name, text in words.items() if found[name]]
    return [*lines, f"{found['as']}: {found['destination']}"]
