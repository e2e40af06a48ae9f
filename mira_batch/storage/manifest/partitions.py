"""Columns that a manifest's folders hold, as Hive and Spark write them: `shop=north/part-0.parquet`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from mira_batch.core.errors import ManifestError

Partition = tuple[tuple[str, str | None], ...]
"""Name and value of each such column."""
_NULL = "__HIVE_DEFAULT_PARTITION__"


def find_partition(location: str, path: str) -> Partition:
    """The columns that the folders between a manifest's location and one of its files hold.

    Args:
        location: the manifest, as the user named it: of a directory what lies below it is looked at, of a
            glob what its pattern stands for.
        path: the file.

    Raises:
        ManifestError: two folders hold the same column.
    """
    given, found = (where.rpartition("://")[2].split("/") for where in (location, path))
    same = 0
    while same < min(len(given), len(found)) and given[same] == found[same]:
        same += 1
    columns: dict[str, str | None] = {}
    for folder in found[same:-1]:
        name, equals, value = (unquote(part, errors="surrogateescape") for part in folder.partition("="))
        if not (name and equals):
            continue
        if name in columns:
            raise ManifestError(f"{path}: two of its folders hold the column {name!r}; rename one of them")
        columns[name] = None if value == _NULL else value
    return tuple(columns.items())


def add_partition(row: dict[str, Any], partition: Partition) -> tuple[str, str] | None:
    """Add a file's folders to one of its rows.

    Args:
        row: column name -> value; it is added to.
        partition: of the file.

    Returns:
        None; or column and reason, where the row itself has this column and says something else.
    """
    for name, value in partition:
        if name not in row:
            row[name] = value
        elif (None if row[name] is None else str(row[name])) != value:
            return (
                name,
                f"is {str(row[name])[:80]!r}, but the folder says {name}={_NULL if value is None else value}",
            )
    return None
