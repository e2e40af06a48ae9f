"""Finds files that users point at (manifests, images, weights), of any scheme, through fsspec."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores.faults import Patience, call_patiently
from mira_batch.storage.stores.filesystems import open_filesystem

_GLOB = re.compile(r"[*?\[]")
_HIDDEN = re.compile(r"(^|/)[._]")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as its store lists it."""

    location: str
    """Absolute path or URI."""
    size: int | None
    """In bytes, as stored; None where the server doesn't say."""
    version: str
    """What tells that it changed: its ETag, or its size and time where there is none."""


def resolve_links(location: str) -> str:
    """What tells a place from others however it is written: a local path without links, and a URI as it is.

    Args:
        location: of a file or directory, which need not exist.
    """
    return location.rstrip("/") if is_remote(location) else os.path.realpath(location)


def find_files(location: str, config: StorageConfig) -> list[FileInfo]:
    """The files that a location stands for, sorted by path.

    Those are the file itself, the files below a directory apart from hidden ones (a name or a folder that
    begins with '.' or '_'), or the matches of a glob. What exists as it is written is meant as it is
    written: brackets, stars and question marks make a glob only in what doesn't. None where there is nothing.

    Passing faults are tried again for `config.retry_seconds`.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        read_errors(): the location can't be listed.
    """
    fs, path = open_filesystem(location, config)
    found = Patience(config.retry_seconds).call(lambda: _find(fs, path))
    remote = is_remote(location)
    return [_make_info(fs, name, info, remote) for name, info in sorted(found.items())]


def _find(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    if pattern := _make_pattern(fs, path):
        matches: Any = fs.glob(pattern, detail=True)
        return _select_files(fs, matches)
    if fs.isdir(path):
        if isinstance(fs, LocalFileSystem):
            _refuse_unreadable_folders(path)
        listing: Any = fs.find(path, detail=True)
        return _select_files(
            fs, {k: info for k, info in listing.items() if not _HIDDEN.search(k[len(path) :])}
        )
    if (info := _look_up(fs, path)) is None:
        return {}
    if info["type"] != "file":
        raise ValueError("is neither a file nor a directory")
    return {path: info}


def _make_pattern(fs: AbstractFileSystem, path: str) -> str | None:
    """A path as a glob in which the folders that exist as they are written stand for themselves; None for one
    that is no glob, or exists as a whole."""
    parts = path.split("/")
    known = 0
    for end, part in enumerate(parts, start=1):
        if _GLOB.search(part):
            if _look_up(fs, "/".join(parts[:end])) is None:
                return "/".join([_GLOB.sub(r"[\g<0>]", part) for part in parts[:known]] + parts[known:])
            known = end
    return None


def _look_up(fs: AbstractFileSystem, path: str) -> dict[str, Any] | None:
    try:
        return dict(fs.info(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _select_files(fs: AbstractFileSystem, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that are files, of local links what they lead to."""
    seen = {
        name: (_look_up(fs, name) or info) if info.get("islink") else info for name, info in found.items()
    }
    return {name: info for name, info in seen.items() if info["type"] == "file"}


def _refuse_unreadable_folders(path: str) -> None:
    """fsspec passes over local folders that may not be listed, and the files in them would be missing."""

    def fail(error: OSError) -> None:
        raise error

    for _ in os.walk(path, onerror=fail):
        pass


def list_files_below(location: str, config: StorageConfig) -> dict[str, FileInfo]:
    """All files below a directory or prefix, by their path relative to it. Empty where it doesn't exist.

    Passing faults are tried again for `config.retry_seconds`.

    Raises:
        StoreError: as `read_bytes`.
        read_errors(): it can't be listed.
    """
    remote = is_remote(location)
    fs, root = open_filesystem(location, config, once=remote)
    find = partial(fs.find, root, detail=True)
    listing: Any = call_patiently(location, Patience(config.retry_seconds), find)
    return {
        name.removeprefix(root).lstrip("/"): _make_info(fs, name, info, remote)
        for name, info in listing.items()
    }


def _make_info(fs: AbstractFileSystem, name: str, info: dict[str, Any], remote: bool) -> FileInfo:
    location = str(fs.unstrip_protocol(name)) if remote else name
    return FileInfo(location, info.get("size"), derive_version(info))


def derive_version(info: dict[str, Any]) -> str:
    """What tells that a file changed, from its entry in a listing of fsspec's.

    Args:
        info: the entry.
    """
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"
