"""Names of the columns of manifests that carry records' own metadata along."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable

from mira_batch.config.shared import Columns


def list_keys(metadata: Iterable[str]) -> set[str]:
    """All keys that records' metadata have.

    Args:
        metadata: of each a JSON object.
    """
    return {name for each in metadata for name in json.loads(each)}


def name_columns(taken: Container[str]) -> Columns:
    """Names for record, image and instruction that no metadata has.

    Args:
        taken: keys of the metadata.
    """
    names = {}
    for name in ("record_id", "image", "instruction"):
        free = name
        while free in taken:
            free = f"_{free}"
        names[name] = free
    return Columns(**names)
