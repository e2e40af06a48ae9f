"""The figures as a table in the terminal, as results.json, and in docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table
from rich.text import Text

from benchmarks.figure import Figure

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PACKAGES = ("mira-batch", "ray", "pyarrow", "pillow", "obstore", "pydantic")


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was with other things."""
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "load_average_before": load_average(),
    }


def load_average() -> float:
    """Processes that wanted a CPU, on average over the last minute."""
    return round(os.getloadavg()[0], 1)


def line(figure: Figure) -> Text:
    colour = {True: "green", False: "red", None: "dim"}[figure.met]
    return Text.assemble((f"  {_value(figure):>14}  ", colour), figure.name, ("  " + _target(figure), "dim"))


def tables(figures: Sequence[Figure], machine: dict[str, Any]) -> list[Table]:
    """The main table, and one for each set of figures that has a table of its own."""
    found = Table(title=_where(machine), title_justify="left", title_style="dim")
    found.add_column("figure", no_wrap=True)
    for name in ("value", "target"):
        found.add_column(name, justify="right", no_wrap=True)
    found.add_column("met", justify="center")
    for figure in figures:
        if figure.cell is None:
            met = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[figure.met]
            found.add_row(figure.name, _value(figure), _target(figure), met)
    return [found, *(_grid(title, rows) for title, rows in _grids(figures).items())]


def _grid(title: str, rows: dict[str, dict[str, Figure]]) -> Table:
    found = Table(title=title, title_justify="left", title_style="dim")
    found.add_column("", no_wrap=True)
    for column in next(iter(rows.values())):
        found.add_column(column, justify="right")
    for row, cells in rows.items():
        found.add_row(row, *(_value(figure) for figure in cells.values()))
    return found


def _grids(figures: Sequence[Figure]) -> dict[str, dict[str, dict[str, Figure]]]:
    """The figures with a place of their own: by table, row and column."""
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for figure in figures:
        if cell := figure.cell:
            found.setdefault(cell.table, {}).setdefault(cell.row, {})[cell.column] = figure
    return found


def write_results(figures: Sequence[Figure], machine: dict[str, Any]) -> None:
    kept = ("value", "unit", "op", "target", "met", "method")
    entries = {figure.name: {key: getattr(figure, key) for key in kept} for figure in figures}
    RESULTS.write_text(json.dumps({"figures": entries, "machine": machine}, indent=2) + "\n")


def write_document(figures: Sequence[Figure], machine: dict[str, Any], name: str, chart: str = "") -> None:
    """Put the tables, and a chart of text, between the document's two markers of this name; the text around
    them stays."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, _, rest = DOCUMENT.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    lines = [
        _where(machine) + ".",
        "",
        "| figure | value | target | met | how |",
        "|---|--:|--:|:-:|---|",
    ]
    for f in figures:
        if f.cell is None:
            lines.append(f"| `{f.name}` | {_value(f)} | {_target(f)} | {_verdict(f)} | {f.method} |")
    for title, rows in _grids(figures).items():
        columns = list(next(iter(rows.values())))
        lines += ["", f"**{title}**", "", f"| | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
        lines += [
            f"| {row} | {' | '.join(_value(f) for f in cells.values())} |" for row, cells in rows.items()
        ]
    lines += ["", "```", chart, "```"] if chart else []
    DOCUMENT.write_text(f"{head}{begin}\n{chr(10).join(lines)}\n{end}{tail}")


def _where(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpus']} CPUs, {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, {versions}; load average {machine['load_average_before']} before and "
        f"{machine['load_average_after']} after; {machine['seconds']} s in all"
    )


def _value(figure: Figure) -> str:
    return (
        f"{figure.value:,.4g} {figure.unit}".strip()
        if figure.value < 1e4
        else f"{figure.value:,.0f} {figure.unit}"
    )


def _target(figure: Figure) -> str:
    if figure.op is None:
        return ""
    sign = {">=": "≥", "<=": "≤"}[figure.op]
    return f"{sign} {figure.target:,g} {figure.unit}".strip()


def _verdict(figure: Figure) -> str:
    return {True: "yes", False: "**no**", None: ""}[figure.met]
