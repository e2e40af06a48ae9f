"""The version of the package, and of what it runs on, which every run notes in its `run.json`."""

from __future__ import annotations

import platform

__version__ = "0.1.0"


def name_versions() -> dict[str, str]:
    """The versions of what a run depends on, by name."""
    from importlib.metadata import version  # a tenth of a second, in which help is shown

    names = ("ray", "pyarrow", "pillow", "obstore", "s3fs", "pydantic")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
