"""What this package has made is no part of a manifest among whose files it lies: else results would be edited
again, and again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.stores import FileInfo, file_exists, resolve_links

EXPORT = ".mira-batch/export.json"
"""Lies in the directory of every export."""
_EXPORTED = re.compile(
    r"(.*)/(?:data/train-\d{5,}-\d{5,}\.parquet|records-\d{5,}-\d{5,}\.csv"
    r"|part-\d{5}-[0-9a-f-]{36}-c\d{3}(?:\.\w+)?\.parquet|(?:\.mira-batch|_delta_log|_versions)/.+)"
)
"""Files of an export that may be taken for those of a manifest; before them its directory."""
_WILD = re.compile(r"[*?\[{]")


def leave_out_made(
    found: Sequence[FileInfo], location: str, output: str, storage: StorageConfig
) -> list[FileInfo]:
    """The files that are the user's own.

    Results of `output` and exports are left out wherever the manifest's location covers them, through links
    as well. Who names a directory of results or an export as the manifest means it.

    Args:
        found: files of the manifest's location.
        location: the manifest, as it is written.
        output: the directory of all runs; empty: there is none.
        storage: how an object store is reached.

    Raises:
        ManifestError: nothing else is there.
    """
    kept, fixed = list(found), _WILD.split(location, maxsplit=1)[0]
    if output:
        root, begins = resolve_links(output), resolve_links(fixed)
        if not f"{begins}/".startswith(f"{root}/"):
            kept = [file for file in kept if not resolve_links(file.location).startswith(f"{root}/")]
    within = location.rstrip("/")
    if not any(file.location.startswith(f"{within}/") for file in found):  # a glob, or a file
        within = fixed.rpartition("/")[0]

    @cache
    def is_export(folder: str) -> bool:
        # A table that is exported has no partitions; Spark names files of a manifest that has many alike.
        may_be = folder.startswith(f"{within}/") and "=" not in folder.rpartition("/")[2]
        return may_be and file_exists(f"{folder}/{EXPORT}", storage)

    folders = [_EXPORTED.fullmatch(file.location) for file in kept]
    own = [file for file, match in zip(kept, folders, strict=True) if not (match and is_export(match[1]))]
    if found and not own:
        raise ManifestError(
            f"{location}: holds nothing but results and exports, which are no part of a manifest; name the "
            "directory of one of them if it is meant"
        )
    return own
