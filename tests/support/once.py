"""Directories that the tests of a session share, in whichever of its processes they run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def find_shared(factory: pytest.TempPathFactory) -> Path:
    """The session's own directory: that of all its workers, where it has some."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def make_once(directory: Path, make: Callable[[Path], object]) -> Path:
    """A directory that `make` fills, unless it is there: who comes meanwhile waits for it."""
    with open(directory.with_name(f"{directory.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            make(unfinished := directory.with_name(f"{directory.name}.unfinished"))
            unfinished.rename(directory)
    return directory
