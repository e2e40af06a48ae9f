"""How far a pretraining got, in one file beside the directory that it will fill."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mira_batch.core.errors import ConfigError

_FORM = 2
"""Of what a checkpoint holds: 1 had the state of one optimizer."""


class Checkpoint:
    """A file that is there whole or not at all."""

    def __init__(self, directory: Path, of: Mapping[str, Any]) -> None:
        """
        Args:
            directory: that the pretraining will fill.
            of: what it is asked for.
        """
        self._path = directory.with_name(f"{directory.name}.checkpoint.pt")
        self._of = {"form": _FORM, **of}

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where nothing was.

        Raises:
            ConfigError: it is of another pretraining, or no checkpoint.
        """
        import torch

        if not self._path.exists():
            return None
        try:
            found = torch.load(self._path, weights_only=True)
            of, state = found["of"], found["state"]
        except Exception as error:  # torch raises what its reader of zip files and of pickles does
            raise ConfigError(f"{self._path} can't be read as a checkpoint ({error}); delete it") from error
        if of != self._of:
            raise ConfigError(f"{self._path} is of a pretraining with {of}, not {self._of}; delete it")
        return state

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep this in the place of what was written before.

        Args:
            state: tensors, numbers, and tuples and dicts of these.
        """
        import torch

        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.unfinished")
        torch.save({"of": self._of, "state": dict(state)}, unfinished)
        unfinished.replace(self._path)

    def remove(self) -> None:
        """Delete it, if it is there."""
        self._path.unlink(missing_ok=True)
