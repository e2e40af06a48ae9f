"""What this package has made is no part of a manifest among whose files it lies: else results would be edited
again, and again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import FileInfo, file_exists

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
        root, begins = _resolve(output), _resolve(_WILD.split(location, maxsplit=1)[0])
        if not f"{begins}/".startswith(f"{root}/"):
            kept = [file for file in kept if not _resolve(file.location).startswith(f"{root}/")]
    exports: dict[str, bool] = {}
    for file in kept:
        if (match := _EXPORTED.fullmatch(file.location)) and match[1] not in exports:
            below = match[1].startswith(f"{location.rstrip('/')}/")
            exports[match[1]] = below and file_exists(f"{match[1]}/{EXPORT}", storage)
    return [file for file in kept if not _is_below(file.location, exports)]


def _is_below(location: str, exports: dict[str, bool]) -> bool:
    match = _EXPORTED.fullmatch(location)
    return match is not None and exports[match[1]]


def _resolve(location: str) -> str:
    """A local path without links; a URI as it is."""
    return location.rstrip("/") if is_remote(location) else os.path.realpath(location)
