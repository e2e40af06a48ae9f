"""The seconds of a run as a table: where its workers' time went, and what its records waited for."""

from __future__ import annotations

from rich.table import Table

from mira_batch.core.receipts import RunSummary
from mira_batch.core.usage import Usage

_MOST = 24
"""Workers with a row of their own."""
_COLUMNS = {
    "worker": "worker",
    "load": "model load",
    "policy": "policy",
    "editor": "editor",
    "judge": "judge",
    "retried": "retried",
    "policy_waiting": "for policy",
    "editor_waiting": "for editor",
    "judge_waiting": "for judge",
    "io": "io",
}
_OPTIONAL = ("judge", "judge_waiting", "retried")
"""Columns left out where they are empty."""


def breakdown_table(summary: RunSummary) -> Table:
    """Seconds of this call by worker, their sum, and what a thousand records took of it.

    Args:
        summary: what the call did; of more than 24 workers only the first by name have rows of their own.
    """
    total = sum(summary.workers.values(), Usage())
    names = {name: title for name, title in _COLUMNS.items() if name not in _OPTIONAL or total[name]}
    table = Table(
        title="Seconds: of a worker its life and its models' calls; of all its records their waiting and io",
        title_justify="left",
        title_style="dim",
    )
    table.add_column("", no_wrap=True)
    for title in names.values():
        table.add_column(title, justify="right", no_wrap=True)
    shown = sorted(summary.workers.items())
    for worker, spent in shown[:_MOST]:
        table.add_row(worker, *(_format_cell(spent, name) for name in names))
    if len(shown) > _MOST:
        table.add_row(f"and {len(shown) - _MOST} more")
    table.add_section()
    table.add_row("this call", *(_format_cell(total, name) for name in names), style="bold")
    if records := summary.committed - summary.already:
        thousand = total * (1000 / records)
        table.add_row("1,000 records", *(_format_cell(thousand, name) for name in names))
    return table


def _format_cell(spent: Usage, name: str) -> str:
    seconds = spent[name]
    if name not in ("policy", "editor", "judge") or not spent["worker"]:
        return f"{seconds:,.1f}"
    return f"{seconds:,.1f} ({seconds / spent['worker']:.0%})"
