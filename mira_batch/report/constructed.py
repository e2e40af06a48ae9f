"""How far a construct is, and what came of it, for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_LINE_SECONDS = 10.0


class StageProgress:
    """A bar in a terminal, and a line now and then in a log. A context manager."""

    def __init__(self, console: Console) -> None:
        """`console`: where it is shown."""
        self._console = console
        self._bar: Progress | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.__enter__()
            self._bar.add_task("", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def tell(self, stage: str, done: int, total: int) -> None:
        """So many parts of so many of a stage are done."""
        if self._bar is not None:
            with suppress(IndexError):
                self._bar.update(self._bar.task_ids[0], description=stage, completed=done, total=total)
        elif time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self._console.print(f"{stage}: {done:,} of {total:,} parts", highlight=False, markup=False)


def describe_stages(found: Mapping[str, Any], uri: str) -> Iterator[str]:
    """What came of a construct, a line for each stage, and for all that one dropped.

    Args:
        found: the markers by stage, as `construct.run.construct` gives them.
        uri: the output.
    """
    for stage, marker in found.items():
        if stage == "card":
            continue
        counts = {name: n for name, n in marker["counts"].items() if "|" not in name}
        kept = {name: n for name, n in counts.items() if not name.startswith(("dropped.", "lost.", "left."))}
        gone = {name: n for name, n in counts.items() if name not in kept}
        yield f"{stage}: " + (", ".join(f"{_say(name)} {n:,}" for name, n in kept.items()) or "nothing to do")
        if gone:
            yield "  without " + ", ".join(f"{_say(name.split('.', 1)[1])} {n:,}" for name, n in gone.items())
    if (card := found.get("card")) is not None:
        counts = card["counts"]
        if not card["samples"]:
            yield "no samples were made: the lines above say what was dropped, and why"
        for name in ("split", "kind", "origin") if card["samples"] else ():
            yield f"{name}: " + ", ".join(f"{key} {n:,}" for key, n in counts[name].items())
        if card["licences"]:
            yield f"strictest licence of a source: {card['licences'][0]['licence']}"
    yield f"in {uri}"


def _say(name: str) -> str:
    return name.replace("_", " ")
