"""Finds and reads files that users point at (manifests, images, weights), of any scheme.

Whole files, ranges and listings go through fsspec (s3fs for s3://). Parquet is read through Arrow instead:
`filesystems.open_arrow_filesystem`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import (
    READ_ERRORS,
    explain_refusal,
    is_passing,
    retry_passing_faults,
    shorten_error,
)
from mira_batch.storage.stores.filesystems import open_filesystem

_PART_BYTES = 64_000_000
"""Of a large file, what is fetched in one request."""
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


def find_files(location: str, config: StorageConfig) -> list[FileInfo]:
    """The files that a location stands for, sorted by path.

    Those are the file itself, the files below a directory apart from hidden ones (a name or a folder that
    begins with '.' or '_'), or the matches of a glob. What exists as it is written is meant as it is
    written: brackets, stars and question marks make a glob only in what doesn't. None where there is nothing.

    Passing faults are tried again for `config.retry_seconds`.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        READ_ERRORS: the location can't be listed.
    """
    fs, path = open_filesystem(location, config)
    found = retry_passing_faults(config.retry_seconds)(_find, fs, path)
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

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        READ_ERRORS: it can't be listed.
    """
    fs, root = open_filesystem(location, config)
    listing: Any = fs.find(root, detail=True)
    remote = is_remote(location)
    return {
        name.removeprefix(root).lstrip("/"): _make_info(fs, name, info, remote)
        for name, info in listing.items()
    }


def _make_info(fs: AbstractFileSystem, name: str, info: dict[str, Any], remote: bool) -> FileInfo:
    location = str(fs.unstrip_protocol(name)) if remote else name
    return FileInfo(location, info.get("size"), _derive_version(info))


def file_exists(location: str, config: StorageConfig) -> bool:
    """Whether something exists at a location.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        READ_ERRORS: the store can't be asked.
    """
    fs, path = open_filesystem(location, config)
    return bool(fs.exists(path))


def read_bytes(
    location: str, config: StorageConfig, most: int, on_retry: Callable[[], None] | None = None
) -> bytes:
    """A file's first `most` + 1 bytes, in one request; longer than `most` means that it is too large.

    Passing faults of a store or network are tried again.

    Args:
        location: a local path or URI.
        config: how an object store is reached, and for how long faults are tried again.
        most: the largest file accepted, in bytes.
        on_retry: called for each passing fault that is waited out.

    Raises:
        StoreError: an object store could not be reached for `config.retry_seconds`, or refuses the
            credentials whatever is asked for. That is no fault of the file.
        READ_ERRORS: it does not exist or can't be read.
    """
    if not is_remote(location):
        with open(open_filesystem(location, config)[1], "rb") as file:
            return file.read(most + 1)
    fs, path = open_filesystem(location, config, once=True)
    return _call_with_retries(location, config, lambda: fs.cat_file(path, start=0, end=most + 1), on_retry)


def read_range(location: str, config: StorageConfig, start: int, end: int) -> bytes:
    """A file's bytes from `start` to before `end`, in one request; fewer where it ends earlier.

    Passing faults are tried again for `config.retry_seconds`.

    Args:
        location: a local path or URI.
        config: how an object store is reached.
        start: first byte.
        end: byte after the last.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        READ_ERRORS: it does not exist or can't be read.
    """
    fs, path = open_filesystem(location, config)
    data: Any = retry_passing_faults(config.retry_seconds)(fs.cat_file, path, start=start, end=end)
    return data


def open_unpacked(location: str, config: StorageConfig) -> AbstractContextManager[IO[bytes]]:
    """Open a file for reading from its start; one whose name ends in .gz or the like is unpacked.

    Opening is tried again as in `read_range`.

    Raises:
        StoreError, READ_ERRORS: as `read_range`.
    """
    fs, path = open_filesystem(location, config)
    file: Any = retry_passing_faults(config.retry_seconds)(fs.open, path, "rb", compression="infer")
    return file


def download(location: str, config: StorageConfig, target: str, size: int) -> None:
    """Copy a file to a local path, in parts; the bytes that are there already are kept.

    Passing faults are tried again as in `read_bytes`, each part for `config.retry_seconds`.

    Args:
        location: the file's path or URI.
        config: how an object store is reached.
        target: the local path; its directory must exist.
        size: of the file, in bytes.

    Raises:
        StoreError, READ_ERRORS: as `read_bytes`.
    """
    fs, path = open_filesystem(location, config, once=True)
    with open(target, "ab") as file:
        while (start := file.tell()) < size:
            fetch = partial(fs.cat_file, path, start=start, end=min(start + _PART_BYTES, size))
            file.write(_call_with_retries(location, config, fetch))


def read_version(location: str, config: StorageConfig) -> str:
    """What tells that a file changed: its ETag, or its size and time where there is none. One request.

    Passing faults of an object store are tried again for `config.retry_seconds`.

    Raises:
        StoreError: as `read_bytes`.
        READ_ERRORS: it does not exist or can't be asked.
    """
    if not is_remote(location):
        stat = os.stat(location)
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    fs, path = open_filesystem(location, config, once=True)
    if _is_web(location):
        return _derive_version(fs.info(path))  # asked for each image of a catalogue; many may be gone
    return _derive_version(_call_with_retries(location, config, lambda: fs.info(path)))


def _derive_version(info: dict[str, Any]) -> str:
    """The version of a file from its fsspec listing entry."""
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"


def _call_with_retries(
    location: str, config: StorageConfig, call: Callable[[], Any], on_retry: Callable[[], None] | None = None
) -> Any:
    """The call's answer, also after tries that failed by a passing fault.

    Raises:
        StoreError: the object store itself fails or refuses the credentials.
        READ_ERRORS: any other fault of the call.
    """
    try:
        return retry_passing_faults(config.retry_seconds, on_retry)(call)
    except READ_ERRORS as error:
        if _is_web(location):  # the server of one image may be gone for good
            raise
        # A bucket that fails so long fails every record, and so do credentials that are never accepted.
        if is_passing(error):
            raise StoreError(
                f"{location}: the store has failed for {config.retry_seconds:g} s; run the same command "
                f"again when it is back ({shorten_error(error)})"
            ) from error
        if what := explain_refusal(error):
            raise StoreError(f"{location}: {what} ({shorten_error(error)})") from error
        raise


def _is_web(location: str) -> bool:
    return location.startswith("http")
