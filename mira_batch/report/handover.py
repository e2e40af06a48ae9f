"""How far an export is, and what came of it, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import TimeRemainingColumn

from mira_batch.report.counting import CountProgress


class ExportProgress(CountProgress):
    """How many records are written. A context manager."""

    def __init__(self, console: Console) -> None:
        """`console`: where it is shown."""
        super().__init__(console, TimeRemainingColumn())

    def tell(self, done: int, total: int) -> None:
        """So many records of so many are written."""
        self.show("exporting", done, total, f"{done:,} of {total:,} records")


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
        "taken_away": "exported before and taken away since; another destination gets them again",
        "not_selected": "not selected",
        "gone": "gone from the manifest",
        "not_ok": "not ok",
        "not_approved": "not approved",
        "left_over": f"more {would}written, as an export that was cut short had begun with them",
        "other_format": "in the format of the results, as their source's name ends in none that is written",
    }
    lines += [f"{found[name]:,} {text}" for name, text in words.items() if found[name]]
    return [*lines, f"{found['as']}: {found['destination']}"]
