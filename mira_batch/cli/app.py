"""What all commands share: the application, options, and the only two ways to print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from mira_batch.cli.interrupts import Interrupts
from mira_batch.core.text import show_text
from mira_batch.report.streams import Murmur, divert_prints, is_terminal

app = typer.Typer()
"""The commands of the modules that were imported; `program` imports the one that is called."""
Config = Annotated[Path, typer.Option("--config", "-c", help="YAML or JSON file, or a run.json.")]
MaybeConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML or JSON file, or a run.json, in place of RUN.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override one setting; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

# Without a terminal (a job's log, a pipe) nothing is cut or wrapped.
out = Console(highlight=False, emoji=False, soft_wrap=True, width=None if is_terminal(1) else 200)
"""The answer. Its file is set when a command is called."""
murmur = Murmur()
"""A descriptor of its own, since the one of stderr is hushed for a moment while Ray starts."""
err = Console(file=murmur, highlight=False, emoji=False, soft_wrap=True)


class Command(TyperCommand):
    """A command whose standard output holds its answer alone."""

    def invoke(self, ctx: Any) -> Any:
        """Run it. What models and libraries print from now on goes to standard error."""
        divert_prints(murmur)
        return super().invoke(ctx)


def get_interrupts(context: typer.Context) -> Interrupts:
    """Who hears signals."""
    assert isinstance(context.obj, Interrupts)
    return context.obj


def print_json(data: Any) -> None:
    """The answer as one JSON document.

    Args:
        data: plain data. JSON has no NaN: what has no value is None, or left out.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    out.file.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
    out.file.flush()


def print_text(text: str) -> None:
    """A line of the answer; `text` may be of foreign origin."""
    out.print(show_text(text), markup=False)


def tell(text: str) -> None:
    """A line on standard error of how it goes; `text` may be of foreign origin."""
    err.print(show_text(text), markup=False)


def complain(head: str, text: str) -> None:
    """One message on standard error; `text` may be of foreign origin."""
    err.print(head, end=" ")
    tell(text)
