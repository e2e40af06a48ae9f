"""The command line over a catalogue of many nights, called in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch.cli import main
from tests.support.runs.nights import Nights

EMBEDDED: dict[str, Any] = {"policy": {"type": "rules"}, "editor": {"type": "pillow"}}


class Commands:
    """Calls commands, and gives what they answer."""

    def __init__(self, nights: Nights, capfd: pytest.CaptureFixture[str], **settings: Any) -> None:
        """A command line over these nights, whose config has these settings more."""
        self.nights = nights
        self.settings = settings
        self._capfd = capfd

    @property
    def config(self) -> str:
        """The config's file, written anew with the manifest as it is now."""
        path = self.nights.folder / "c.yaml"
        config = self.nights.configure(**self.settings).model_dump(mode="json")
        path.write_text(yaml.safe_dump(config, allow_unicode=True))
        return str(path)

    def run(self, **more: Any) -> Path:
        """A night, and the directory of its run."""
        return Path(self.nights.run(more=self.settings | more).run)

    def text(self, *words: str | Path, code: int = 0) -> str:
        """What a command prints for people."""
        self._capfd.readouterr()
        assert main([str(word) for word in words]) == code
        return self._capfd.readouterr().out

    def json(self, *words: str | Path, code: int = 0) -> Any:
        """What it prints for programs."""
        return json.loads(self.text(*words, "--json", code=code))


def run_first_night(nights: Nights, capfd: pytest.CaptureFixture[str]) -> Commands:
    """A command line over nights of which the first is made, by models that edit for real."""
    found = Commands(nights, capfd, **EMBEDDED)
    found.run()
    return found
