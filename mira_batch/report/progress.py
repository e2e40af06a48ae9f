"""Live progress in the terminal, and plain lines where there is no terminal (job logs, CI)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mira_batch.core.costs import split_cost
from mira_batch.core.figures import show_clock, show_dollars
from mira_batch.core.receipts import RunSummary, WorkerStatus
from mira_batch.core.text import show_text
from mira_batch.core.types import UNFINISHED
from mira_batch.runtime.live import LiveState
from mira_batch.runtime.standing import Standing

_LINE_SECONDS = 10.0


class Terminal(Standing):
    """Shows a run on a console. Use it as a context manager around `run(config, progress)`."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._started = time.monotonic()
        self._rows = 0
        self._last_line = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def planning(self, rows: int) -> None:
        self._rows = rows
        self._print_line(f"planning: {rows:,} manifest rows read")

    def executing(self, summary: RunSummary) -> None:
        super().executing(summary)
        again = f", {summary.already:,} already committed" if summary.already else ""
        self._print_line(f"running {summary.run_id}: {summary.planned:,} records planned{again}", now=True)

    def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
        super().heartbeat(workers)
        self._print_line(self.describe())

    def committed(self, summary: RunSummary) -> None:
        super().committed(summary)
        self._print_line(self.describe())

    def note(self, text: str) -> None:
        self._console.print(Text(show_text(text), "yellow"))

    def _print_line(self, text: str, now: bool = False) -> None:
        due = time.monotonic() - self._last_line >= _LINE_SECONDS
        if self._live is None and (due or now):
            self._last_line = time.monotonic()
            self._console.print(show_text(text), highlight=False, markup=False)

    def __rich__(self) -> RenderableType:
        elapsed = show_clock(time.monotonic() - self._started)
        summary = self.summary
        if summary is None:
            what = (
                f"planning  {self._rows:,} rows read"
                if self._rows
                else "starting Ray and reading the manifest"
            )
            return Text.assemble(("● ", "cyan"), what, (f"   {elapsed}", "dim"))
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, summary.planned), completed=self.done, width=40)
        share = 100 * self.done / max(1, summary.planned)
        grid.add_row(Text(summary.run_id, "bold"), bar, f"{share:3.0f} %", Text(elapsed, "dim"))
        return Group(grid, Text("  " + show_text(self.describe()), "dim"))


def live_table(state: LiveState) -> RenderableType:
    """What a run is doing, and each of its workers."""
    grid = Table.grid(padding=(0, 2))
    share = 100 * state.done / max(1, state.planned)
    bar = ProgressBar(total=max(1, state.planned), completed=state.done, width=40)
    grid.add_row(
        Text(show_text(state.run_id), "bold"), bar, f"{share:3.0f} %", Text(describe_live(state), "dim")
    )
    workers = Table.grid(padding=(0, 2))
    for worker in state.workers:
        slowest = worker["records"][0] if worker["records"] else None
        at = (
            f"{show_text(slowest['record_id'])} at step {slowest['step'] + 1} ({slowest['doing']}) for "
            f"{slowest['seconds']:,.0f} s"
            if slowest
            else "idle"
        )
        silent = f"silent for {worker['silent']:,.0f} s" if worker["silent"] > _LINE_SECONDS else ""
        workers.add_row("  " + show_text(worker["worker"]), f"{worker['in_flight']} in flight", at, silent)
    note = [Text("  " + show_text(state.note), "yellow")] if state.note else []
    return Group(grid, workers, *note)


def describe_live(state: LiveState) -> str:
    """What a run is doing, in a line."""
    failed = sum(state.errors.values())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in Counter(state.errors).most_common(3))
    parts = [f"{state.done:,} of {state.planned:,} records", f"{60 * state.rate:,.1f} a minute"]
    if state.eta is not None:
        parts.append(f"{show_clock(state.eta)} left")
    parts.append(f"{failed:,} failed{f' ({kinds})' if kinds else ''}")
    if state.editor_busy is not None:
        parts.append(f"editor busy {100 * state.editor_busy:.0f} %")
    if state.cost:
        parts.append(show_dollars(state.cost))
    return ", ".join([*parts, f"{len(state.workers)} workers"])


def summary_table(summary: RunSummary, report: str = "") -> Table:
    """What a run did, for people; with where its report is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    here = summary.committed - summary.already
    before = f"  ({summary.already:,} of them before)" if summary.already and here else ""
    if summary.planned:
        table.add_row("records", f"{summary.committed:,} of {summary.planned:,} committed{before}")
    else:
        nothing = "none of its own: nothing was left to make, and its plan tells the catalogue what stands"
        table.add_row("records", nothing if summary.complete else "not planned yet")
    if summary.planned and summary.complete and not here and summary.wall:
        table.add_row("", "nothing to do: every record is committed")
    if summary.committed:
        early = {reason: count for reason, count in summary.stops.items() if reason in UNFINISHED}
        well = {reason: count for reason, count in summary.stops.items() if reason not in UNFINISHED}
        table.add_row("ok", Text(f"{summary.ok:,}", "green") + _format_counts(well))
        if summary.unfinished:
            table.add_row("unfinished", Text(f"{summary.unfinished:,}", "yellow") + _format_counts(early))
        if summary.failed:
            table.add_row("failed", Text(f"{summary.failed:,}", "red") + _format_counts(summary.errors))
        if summary.unread:
            words = "in result files that are damaged; `mira-batch verify` names them"
            table.add_row("unread", Text(f"{summary.unread:,}", "red") + Text(f"  {words}"))
        resumed = f", {summary.resumed_steps:,} of them resumed" if summary.resumed_steps else ""
        each = summary.steps / summary.committed
        if summary.steps:
            table.add_row("edits", f"{summary.steps:,}  ({each:.1f} a record{resumed})")
    if summary.cost or summary.gpu_cost:
        table.add_row("cost", cost_line(summary))
        if parts := describe_parts(summary):
            table.add_row("of it", parts)
    if summary.skipped:
        table.add_row("skipped", f"{summary.skipped:,} that an earlier run has")
    if summary.rejected:
        table.add_row(
            "rejected", Text(f"{summary.rejected:,} rows", "yellow") + Text("  plan/rejects.parquet")
        )
    if summary.retries:
        table.add_row(
            "retries", f"{summary.retries:,} passing faults of the images' store or of endpoints, waited out"
        )
    if summary.restarts:
        table.add_row("restarts", f"{summary.restarts:,} shards begun again after their worker ended")
    pace = f", {60 * here / summary.wall:,.0f} records a minute" if here and summary.wall else ""
    if summary.wall:
        table.add_row("time", f"{show_clock(summary.wall)}{pace}")
    if summary.driver:
        table.add_row("driver", Text(show_text(summary.driver)))
    if summary.committed:
        table.add_row("results", Text(f"{_shorten_path(summary.results)}/*.parquet"))
    elif summary.planned:
        table.add_row("results", "none yet")
    if report:
        table.add_row("report", Text(_shorten_path(report)))
    return table


def cost_line(summary: RunSummary) -> str:
    """What a run cost, of what, and for each accepted image."""
    parts = [("GPUs", summary.gpu_cost), ("endpoints", summary.cost)]
    named = [f"{name} {show_dollars(dollars)}" for name, dollars in parts if dollars]
    each = summary.cost_per_accepted
    accepted = f"; {show_dollars(each, 4)} an accepted image" if each is not None else ""
    return f"{show_dollars(summary.gpu_cost + summary.cost)}  ({', '.join(named)}{accepted})"


def describe_parts(summary: RunSummary) -> str:
    """What of a run's cost went into which model, and the seconds of its calls. Empty where it can't be told.

    Args:
        summary: the run's.
    """
    spent = summary.total.breakdown
    parts = sorted((split_cost(summary) or {}).items(), key=lambda part: -part[1])
    return ", ".join(f"{role} {show_dollars(cost)} ({spent[role]:,.1f} s of calls)" for role, cost in parts)


def _shorten_path(location: str) -> str:
    """A path below the working directory as one would type it."""
    here = os.getcwd() + os.sep
    return show_text(location.removeprefix(here))


def _format_counts(counts: Mapping[str, int]) -> Text:
    if not counts:
        return Text("")
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Text("  " + show_text(", ".join(f"{name} {count:,}" for name, count in most)), "dim")
