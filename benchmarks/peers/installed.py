"""Packages of peers, which lie in a folder of their own that only the processes of these peers see.

`make bench` fills it. Where a package is missing, its figures are left out and the run says so.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.metadata import distributions

from benchmarks.child import ROOT

FOLDER = ROOT / ".venv" / "peers"
COMMAND = "make .venv/peers/.installed"


def find_version(package: str) -> str | None:
    """The installed version of a peer's package, or None."""
    if not FOLDER.is_dir():
        return None
    return next((found.version for found in distributions(name=package, path=[str(FOLDER)])), None)


def see_peers() -> dict[str, str]:
    """Variables of a process that is to find these packages, and ours after them."""
    return {"PYTHONPATH": os.pathsep.join((str(FOLDER), str(ROOT)))}


def is_there(package: str, figure: str) -> bool:
    """Whether the package is installed; if not, standard error has what is left out, and what to do."""
    if find_version(package) is not None:
        return True
    _say(f"{package} is not installed, so {figure} is left out; `{COMMAND}` installs it")
    return False


@cache
def _say(text: str) -> None:
    print(text, file=sys.stderr)
