"""What was asked about records and runs, for people: an explanation, a trajectory, a comparison."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mira_batch.catalogue.compare import Difference
from mira_batch.catalogue.explain import Explanation
from mira_batch.core.figures import show_dollars
from mira_batch.core.identity import name_rollout
from mira_batch.core.replay import Replay
from mira_batch.core.text import show_text
from mira_batch.report.causes import name_cause
from mira_batch.storage.catalogue.trajectory import FoundTrajectory

_COLOURS = {"ok": "green", "unfinished": "yellow", "failed": "red"}
_MOST_LISTED = 20
_CHUNK = 4096


def print_explanation(console: Console, found: Explanation) -> None:
    """Why a record is run or left alone, and what there is of it."""
    head = Text(show_text(found.record_id), "bold") + Text(f": {name_cause(found.cause)}")
    console.print(head)
    if found.place:
        console.print(Text(f"  {show_text(found.place)}"))
    for change in found.changes:
        console.print(Text(f"  {show_text(change)}"))
    if not found.history:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("plan", "run", "status", "", "result", "cost", ""):
        table.add_column(name)
    for row in found.history:
        marks = ["current"] if row["current"] else []
        marks += [f"promotion {row['promotion']}"] if row.get("promotion") else []
        table.add_row(
            str(row["plan"]) if row["plan"] > 0 else "earlier",
            show_text(row["run"]),
            Text(row["status"], _COLOURS.get(row["status"], "")),
            row["error_kind"] or row["stop_reason"] or "",
            (row["result_digest"] or "")[:12],
            show_dollars(row["cost"], 4) if row["cost"] else "",
            ", ".join(marks),
        )
    console.print(table)


def print_trajectory(console: Console, found: FoundTrajectory, written: Sequence[Path]) -> None:
    """What the loop did with a record, step by step; images where the terminal shows some."""
    row = found.row
    name = name_rollout(row["record_id"], row["rollout"])
    console.print(Text(show_text(name), "bold"), Text(show_text(row["instruction"])))
    outcome = row["error_kind"] or row["stop_reason"] or ""
    state = Text(row["status"], _COLOURS.get(row["status"], "")) + Text(f"  {outcome}")
    if row["error_message"]:
        state += Text(f": {show_text(row['error_message'])}")
    console.print(state)
    shown = dict(found.images()) if find_protocol(console) else {}
    for step in row["steps"]:
        spent = ", ".join(
            f"{name} {seconds:.1f} s" for name, seconds in (step["seconds"] or {}).items() if seconds
        )
        score = "" if step["score"] is None else f"  score {step['score']:.2f}"
        drawn = sum(each["step"] == step["index"] for each in row["candidates"] or ())
        score += f", the best of {drawn}" if drawn > 1 else ""
        verdict = "" if step["accepted"] else "  [red]rolled back[/]"
        console.print(f"[bold]{step['index'] + 1}[/]", end="  ")
        console.print(Text(show_text(step["instruction"])), end="")
        console.print(f"{score}{verdict}  [dim]{spent}[/]")
        if step["thought"]:
            console.print(Text(f"   {show_text(step['thought'])}", "dim italic"))
        show_image(console, shown.get(f"step-{step['index'] + 1:02d}"))
    if row["final_thought"]:
        console.print(Text(f"   {show_text(row['final_thought'])}", "dim italic"))
    if not row["steps"] or row["result_digest"] != row["steps"][-1]["after"]:
        show_image(console, shown.get("result"))
    console.print(Text(f"from {show_text(row['source'] or '')}", "dim"))
    console.print(Text(f"in   {show_text(found.run.uri)}", "dim"))
    for path in written:
        console.print(Text(show_text(str(path))))


def print_replay(console: Console, done: Replay) -> None:
    """Whether a record came out the same, and if not, where it went another way."""
    colour = {"same": "green", "near": "yellow", "different": "red"}[done.verdict]
    words = {"same": "bitwise the same", "near": "near", "different": "different"}[done.verdict]
    console.print(Text(show_text(done.old["record_id"]), "bold"), Text(words, colour))
    for role, (then, now) in done.models.items():
        console.print(Text(f"  {role} was {show_text(str(then))}, is now {show_text(str(now))}"))
    if (found := done.difference) is not None:
        where = "at the end" if found.step is None else f"at step {found.step + 1}"
        moved = "is another" if found.role == "input" else f"moved {where}"
        console.print(f"  the {found.role} {moved}")
        console.print(Text(f"    was {show_text(found.was)}"))
        console.print(Text(f"    now {show_text(found.now)}"))
        if found.mean is not None:
            console.print(f"    the images differ by {found.mean:.3f} of 255 on average")


def find_protocol(console: Console) -> str:
    """How the terminal takes images: "kitty", "iterm", or not at all."""
    if not console.is_terminal:
        return ""
    if "KITTY_WINDOW_ID" in os.environ or os.environ.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    return "iterm" if os.environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm", "vscode") else ""


def show_image(console: Console, data: bytes | None) -> None:
    """An encoded image, in the terminal's own way; nothing where there is none.

    Args:
        console: the terminal.
        data: encoded; kitty takes PNG alone.
    """
    protocol = find_protocol(console)
    if data is None or not protocol or (protocol == "kitty" and not data.startswith(b"\x89PNG")):
        return
    text = b64encode(data).decode()
    if protocol == "iterm":
        written = f"\x1b]1337;File=inline=1;height=12:{text}\a\n"
    else:
        parts = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
        first, last = "f=100,a=T,r=12,", len(parts) - 1
        written = "".join(
            f"\x1b_G{first if at == 0 else ''}m={int(at < last)};{part}\x1b\\"
            for at, part in enumerate(parts)
        )
        written += "\n"
    console.file.write(written)
    console.file.flush()


def print_difference(console: Console, found: Difference) -> None:
    """Two runs beside each other."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for side in (found.old, found.new):
        table.add_column(show_text(side.run.rsplit("/", 1)[-1]), justify="right")
    sides = (found.old, found.new)
    table.add_row("records", *(f"{side.records:,}" for side in sides))
    for status in ("ok", "unfinished", "failed"):
        table.add_row(status, *(f"{side.statuses.get(status, 0):,}" for side in sides))
    table.add_row("edits", *(f"{side.steps:,}" for side in sides))
    table.add_row("seconds a record", *(_each(side.seconds, side.records) for side in sides))
    if found.old.cost or found.new.cost:
        table.add_row("endpoints", *(show_dollars(side.cost) for side in sides))
    console.print(table)
    for line in found.settings:
        console.print(Text(show_text(line)))
    console.print(f"{found.same:,} the same, {len(found.changed):,} changed", end="")
    console.print(f", {len(found.came):,} came, {len(found.went):,} went")
    for move, records in sorted(found.moves.items(), key=lambda item: -item[1]):
        console.print(Text(f"  {records:,}  {move}"))
    _list(console, "changed", [_describe(row) for row in found.changed])
    _list(console, "came", found.came)
    _list(console, "went", found.went)


def _each(total: float, records: int) -> str:
    return f"{total / records:,.2f}" if records else "-"


def _describe(row: Mapping[str, Any]) -> str:
    ends = [
        row[f"{side}_error_kind"] or row[f"{side}_stop_reason"] or row[f"{side}_status"]
        for side in ("old", "new")
    ]
    pixels = "" if row["old_result_digest"] == row["new_result_digest"] else ", other pixels"
    moved = f"{ends[0]} -> {ends[1]}" if ends[0] != ends[1] else ends[0]
    return f"{row['record_id']}: {moved}{pixels}"


def _list(console: Console, what: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    console.print(f"[dim]{what}:[/]")
    for line in lines[:_MOST_LISTED]:
        console.print(Text(f"  {show_text(line)}"))
    if len(lines) > _MOST_LISTED:
        console.print(f"  [dim]and {len(lines) - _MOST_LISTED:,} more; --json has all[/]")
