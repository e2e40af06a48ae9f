"""What the tests of the guides share: a place to type their commands in, and what came of each."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mira_batch.cli import main
from tests.docs.blocks import blocks
from tests.support import ROOT


def write_files(document: str, folder: Path, backend: str = "inline") -> None:
    """The files that a document shows, its configs with a backend that needs no Ray."""
    for block in blocks(document):
        if block.file_name:
            more = f"backend: {backend}\n" if block.file_name.endswith(".yaml") else ""
            (folder / block.file_name).write_text(block.text + more)


class Terminal:
    """Where the commands of a document are typed in.

    Those of `mira-batch` run in this process, by the function that the program calls: starting so many
    programs would take most of the time. What needs a shell gets one.
    """

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, command: str, folder: Path) -> str:
        """What a command prints, as a reader would type it. It must succeed."""
        line, code = re.fullmatch(r"(.*?)(?: \|\| test \$\? = (\d))?", command, re.DOTALL).groups()
        program, *words = shlex.split(line)
        if program != "mira-batch" or {">", "|", "&&"} & set(words):
            return shell(command, folder)
        self._capfd.readouterr()
        with contextlib.chdir(folder):
            found = main(words)
        out, err = self._capfd.readouterr()
        assert found in (0, int(code or 0)), f"{command}\n{out}\n{err}"
        return out


def shell(command: str, folder: Path, **environment: str) -> str:
    """What a command prints that a shell runs, with programs of its own. It must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def read_words(document: str) -> str:
    """A document's text without its line breaks, so that what it says is found however it is wrapped."""
    return re.sub(r"\s+", " ", (ROOT / document).read_text(encoding="utf-8"))


def read_figure(name: str) -> float:
    """A figure of the benchmarks' page."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (value,) = re.findall(rf"^\| `{name}` \| ([\d,.]+)", page, re.MULTILINE)
    return float(value.replace(",", ""))
