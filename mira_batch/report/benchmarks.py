"""What benchmarks say, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from mira_batch.core.text import show_text
from mira_batch.evaluate.suites.sheets import Cell, Sheet, Tabulated


def describe_table(found: Tabulated) -> Iterator[Text | Table]:
    """The tables of a benchmark, and what is not in them."""
    yield Text(show_text(f"{found.title}: {', '.join(found.source)}"))
    if found.judge:
        yield Text(show_text(f"judge {found.judge} · {found.protocol}"), style="dim")
    counts = found.counts
    whose = "compared" if not found.judge else "judged"
    yield Text(
        f"{counts.judged:,} of {counts.items:,} items {whose}, {counts.failed:,} failed, "
        f"{counts.missing:,} missing"
    )
    if not counts.complete:
        reasons = ", ".join(f"{why} {count:,}" for why, count in counts.reasons.items())
        yield Text(
            show_text(
                f"INCOMPLETE: {counts.items - counts.judged:,} of {counts.items:,} items are in no mean "
                f"({reasons}); a mean is of its judged items, a group without any has none, and these "
                "figures don't compare with published ones"
            ),
            style="bold red",
        )
    for note in found.notes:
        yield Text(show_text(f"note: {note}"), style="yellow")
    for sheet in found.sheets:
        yield Text()
        yield _tabulate(sheet)


def _tabulate(sheet: Sheet) -> Table:
    table = Table(
        box=None, padding=(0, 3, 0, 0), header_style="dim", title=show_text(sheet.title), title_justify="left"
    )
    table.add_column("")
    for name in sheet.columns:
        table.add_column(show_text(name), justify="right")
    for name, cells in sheet.rows:
        table.add_row(show_text(name), *(_show(cell, sheet.digits) for cell in cells))
    for name, cells in sheet.means:
        table.add_row(show_text(name), *(_show(cell, sheet.digits) for cell in cells), style="bold")
    return table


def _show(cell: Cell, digits: int) -> str:
    match cell:
        case None:
            return "–"
        case str():
            return show_text(cell)
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:.{digits}f}"
