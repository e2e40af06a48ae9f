"""The items of a benchmark as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.storage.published import Picture


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the manifest that is made."""

    record_id: str
    instruction: str
    images: Mapping[str, Picture]
    """By the manifest's column: `image`, and `original` or `target`."""
    about: Mapping[str, Any]
    """Further columns, which the edit job carries along as metadata."""
