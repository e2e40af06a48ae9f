"""A plan in words: what it runs and why, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.table import Table
from rich.text import Text

from mira_batch.core.figures import show_dollars, show_figure
from mira_batch.core.receipts import Estimate, Range, RunSummary
from mira_batch.core.text import show_text

_RUN = {
    "new": "new",
    "image": "image changed",
    "instruction": "instruction changed",
    "settings": "settings changed",
    "failed": "failed before",
    "unfinished": "unfinished before",
    "repeated": "made again as asked for",
    "selected": "selected",
    "rejected_by_person": "rejected by a person",
}
_LEFT = {
    "unchanged": "unchanged",
    "failed_waiting": "failed before, left to `retry`",
    "unfinished_waiting": "unfinished before, left to `retry`",
    "same_pixels": "saved again with the same pixels",
    "rejected": "can't be used",
    "duplicate": "there twice",
    "gone": "gone from the manifest",
    "not_selected": "not selected",
    "running": "in hand of another run",
}


def causes_table(summary: RunSummary) -> Table:
    """Why records are run, the most frequent cause first, with an example each; then why others are not."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")
    for words in (_RUN, _LEFT):
        for name, records, example in _find_causes(summary, words):
            style = None if words is _RUN else "dim"
            table.add_row(f"{records:,}", name, f"such as {example}" if example else "", style=style)
    changes = summary.causes["settings"].changes if "settings" in summary.causes else {}
    for change, records in changes.items():
        table.add_row("", Text(f"{records:,} by {show_text(change)}"), "")
    return table


def list_causes(summary: RunSummary) -> list[str]:
    """Why records are run, and then why others are not, as in "3 new"; the most frequent first of each."""
    return [
        f"{records:,} {name}" for words in (_RUN, _LEFT) for name, records, _ in _find_causes(summary, words)
    ]


def describe_estimate(found: Estimate) -> str:
    """What a plan is expected to take, in words. What is unknown is said to be."""
    workers = "1 worker" if found.workers == 1 else f"{found.workers:,} workers"
    figures = [
        _name_range(found.edits, "{:,.0f}".format, "edits"),
        _name_range(found.worker_hours, show_figure, "worker hours"),
        _name_range(found.dollars, show_dollars, "", "cost unknown"),
        _name_range(found.hours, show_figure, f"hours on {workers}"),
    ]
    runs = "1 run" if found.runs == 1 else f"{found.runs} runs"
    source = f"by {runs} of these models" if found.runs else "no run of these models has been made here"
    return f"about {', '.join(figures)} ({source})"


def _name_range(span: Range | None, show: Callable[[float], str], unit: str, unknown: str = "") -> str:
    if span is None:
        return unknown or f"an unknown number of {unit}"
    low, high = show(span.low), show(span.high)
    return f"{low if low == high else f'{low} to {high}'} {unit}".rstrip()


def name_cause(name: str) -> str:
    """A cause in words."""
    return (_RUN | _LEFT | {"unknown": "neither the manifest nor the catalogue has such a record"})[name]


def _find_causes(summary: RunSummary, words: dict[str, str]) -> Iterator[tuple[str, int, str]]:
    found = [(cause.records, name, cause.example) for name, cause in summary.causes.items() if name in words]
    for records, name, example in sorted(found, key=lambda cause: -cause[0]):
        yield words[name], records, show_text(example)
