"""`mira-batch` in a process of its own that has its libraries already: it is forked from one that waits.

A program that is started anew spends two to three seconds of a core on imports, most of what a short command
takes. Only what a test is about, how a program starts or dies, needs that; and Ray, which reads the
environment when it is imported.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

_LIBRARIES = [
    "pandas",
    "jinja2",
    "typer",
    "rich.live",
    "rich.progress",
    "rich.table",
    "mira_batch.edit.preflight",
    "mira_batch.edit.record",
    "mira_batch.launch",
    "mira_batch.models.embedded",
    "tests.support.runs.program",
]
"""Nothing of `cli` and `report`: they open standard error anew when they are imported."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_LIBRARIES)
_ONE_AT_A_TIME = threading.Lock()
"""Of what asks the server: an exit code can be read once, and starting a process looks at the others, too."""


def call(
    *words: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    merge: bool = False,
    seconds: float = 300,
) -> CompletedProcess[str]:
    """A command, to its end, without Ray.

    Args:
        words: its arguments.
        folder: where it is called; this process's own, if left out.
        environment: all of it; this process's own, if left out.
        merge: standard error goes where standard output goes.
        seconds: most that it may take.
    """
    arguments = [str(word) for word in words]
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "out" if merge else "err")
        given = dict(os.environ if environment is None else environment)
        process = _FORKS.Process(target=_be, args=(arguments, folder or Path.cwd(), given, out, err))
        with _ONE_AT_A_TIME:
            process.start()
        until = time.monotonic() + seconds
        while (code := _find_exit_code(process)) is None:
            if time.monotonic() > until:
                process.kill()
                raise AssertionError(f"{arguments} took more than {seconds:g} s")
            time.sleep(0.01)
        return CompletedProcess(arguments, code, out.read_text(), "" if merge else err.read_text())


def _find_exit_code(process: BaseProcess) -> int | None:
    with _ONE_AT_A_TIME:
        return process.exitcode


def _be(words: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    """Be the program, from its first line to its last."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ["mira-batch", *words]
    from mira_batch.cli import main

    code = main()
    threading._shutdown()  # as an interpreter does at its end
    atexit._run_exitfuncs()
    sys.exit(code)
