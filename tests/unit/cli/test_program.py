"""The table of commands is what their modules hold, so that help can be shown without any of them."""

from __future__ import annotations

import importlib
import pkgutil

from typer.core import TyperGroup
from typer.main import get_group

import mira_batch.cli
from mira_batch.cli import program


def test_help_lists_each_command_with_its_module_and_in_the_words_of_its_own_help() -> None:
    for module in pkgutil.iter_modules(mira_batch.cli.__path__):
        if module.name != "__main__":
            importlib.import_module(f"mira_batch.cli.{module.name}")
    own = []
    for name, command in get_group(program.app).commands.items():
        first = next(iter(command.commands.values())) if isinstance(command, TyperGroup) else command
        module = getattr(first.callback, "__module__", "").removeprefix("mira_batch.cli.")
        own.append((name, module, (command.help or "").partition("\n\n")[0]))
    assert sorted(program.COMMANDS) == sorted(own)
    assert list(program.program.commands) == [name for name, *_ in program.COMMANDS]
