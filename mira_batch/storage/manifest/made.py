"""What this package has made is no part of a manifest among whose files it lies: else results would be edited
again, and again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import FileInfo, file_exists, resolve_links

EXPORT = ".mira-batch/export.json"
"""Lies in the directory of every export."""
_EXPORTED = re.compile(r"(.*)/(?:data/train-\d{5,}-\d{5,}\.parquet|records-\d{5,}-\d{5,}\.csv)")
"""Files of an export that may be taken for those of a manifest; before them its directory."""
_WILD = re.compile(r"[*?\[{]")


def leave_out_made(
    found: Sequence[FileInfo], location: str, output: str, storage: StorageConfig
) -> list[FileInfo]:
    """The files that are the user's own.

    Results of `output` are left out wherever the manifest's location covers them, through links as well, and
    exports that lie in a directory. Who names a directory of results or an export as the manifest means it.

    Args:
        found: files of the manifest's location.
        location: the manifest, as it is written.
        output: the directory of all runs; empty: there is none.
        storage: how an object store is reached.
    """
    kept = list(found)
    if output:
        root, begins = resolve_links(output), resolve_links(_WILD.split(location, maxsplit=1)[0])
        if not f"{begins}/".startswith(f"{root}/"):
            kept = [file for file in kept if not resolve_links(file.location).startswith(f"{root}/")]

    @cache
    def is_export(folder: str) -> bool:
        below = folder.startswith(f"{location.rstrip('/')}/")
        return below and file_exists(f"{folder}/{EXPORT}", storage)

    folders = [_EXPORTED.fullmatch(file.location) for file in kept]
    return [file for file, match in zip(kept, folders, strict=True) if not (match and is_export(match[1]))]
