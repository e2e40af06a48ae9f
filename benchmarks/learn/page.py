"""The table of what was learned: for the terminal, and as a page that leads to the reports of all runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.learn.successes import Rate
from mira_batch.report.render import load_templates

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Row:
    """A way of the table."""

    name: str
    title: str
    failures: float
    rate: Rate
    solved: int
    tasks: int
    """Over all seeds."""
    edits: float
    """Mean number of a task."""
    ends: Mapping[str, int]
    """How many ended how."""

    def dump(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "name": self.name,
            "title": self.title,
            "failures": self.failures,
            **self.rate.dump(),
            "solved": self.solved,
            "tasks": self.tasks,
            "edits": self.edits,
            "ends": dict(self.ends),
        }


def print_table(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table.

    Args:
        found: what `results.json` has.
    """
    yield f"{'':34}{'edits lost':>10}  {'solved':>11}  {'share':>6}  95 % interval   edits of a task"
    for row in found["ways"]:
        counted = f"{row['solved']:,}/{row['tasks']:,}"
        yield (
            f"{row['title']:34}{row['failures']:>10.0%}  {counted:>11}  {row['value']:>6.3f}  "
            f"{row['low']:.3f} to {row['high']:.3f}  {row['edits']:.2f}"
        )
    yield ""
    yield f"{'':54}{'target':>8}  {'is':>7}  95 % interval"
    yield from map(_write_target, found["targets"])
    yield ""
    yield f"{'an editor that draws':44}{'solved':>11}  {'share':>6}  95 % interval   spared of the rest"
    for row in found["editors"]["ways"]:
        counted = f"{row['solved']:,}/{row['tasks']:,}"
        yield (
            f"{row['title']:44}{counted:>11}  {row['value']:>6.3f}  "
            f"{row['low']:.3f} to {row['high']:.3f}  {row['spared']:.4f}"
        )
    yield ""
    yield from map(_write_target, found["editors"]["targets"])
    yield ""
    minutes, cpu = found["seconds"] / 60, found["cpu_seconds"] / 60
    yield f"seeds: {found['seeds']}; {cpu:.1f} min of CPU, {minutes:.1f} min by the clock"


def _write_target(target: Mapping[str, Any]) -> str:
    return (
        f"{target['title']:54}{'≥ ' + format(target['least'], '.2f'):>8}  {target['value']:>+7.3f}  "
        f"{target['low']:+.3f} to {target['high']:+.3f}  {'met' if target['met'] else 'NOT MET'}"
    )


def write_page(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write the page, and say where it is.

    Args:
        folder: of everything.
        found: what `results.json` has.
    """
    text = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    style = Markup(files("mira_batch.report").joinpath("page/base.css").read_text(encoding="utf-8"))
    place = folder / PAGE
    rendered = (
        load_templates().from_string(text).render(found=found, style=style, seeds=range(found["seeds"]))
    )
    place.write_text(rendered, encoding="utf-8")
    return place
