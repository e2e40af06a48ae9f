"""What a job reads its records from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.core.identity import content_hash


@dataclass(frozen=True, slots=True)
class Source:
    """The files that a job reads, and how they are cut for tasks that run side by side."""

    location: str
    """As the user wrote it; a run is named after it."""
    files: Sequence[tuple[str, str]]
    """Path and version of each file: another version is another source."""
    split: Callable[[], Sequence[Any]]
    """Cuts it into splits, in order: dataclasses that pickle, each with its `size` in bytes.

    Raises ManifestError: it can't be used."""
    split_bytes: int
    """What is smaller than two splits of this size is scanned in the driver, in less time than Ray takes."""


def hash_contents(files: Sequence[tuple[str, str]]) -> str:
    """What tells that a job reads something else, as `run.json` notes it.

    Args:
        files: path and version of each file that it reads.
    """
    return content_hash(*(part for file in files for part in file))
