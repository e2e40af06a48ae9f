"""Finds and reads files that users point at (manifests, images, weights), of any scheme.

Whole files, ranges and listings go through fsspec (s3fs for s3://). Parquet is read through Arrow instead:
`filesystems.open_arrow_filesystem`.
"""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, TypeVar, cast

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import (
    READ_ERRORS,
    Patience,
    call_patiently,
    explain_disk_error,
    is_web,
)
from mira_batch.storage.stores.fetches import (
    Admit,
    FetchStopped,
    fetch_remote,
    look_up_web,
    read_local,
    refuse_redirect,
)
from mira_batch.storage.stores.filesystems import open_filesystem
from mira_batch.storage.stores.rereads import read_surely

T = TypeVar("T")
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
        READ_ERRORS: it can't be listed.
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
    return FileInfo(location, info.get("size"), _derive_version(info))


def file_exists(location: str, config: StorageConfig) -> bool:
    """Whether something exists at a location. Passing faults are tried again for `config.retry_seconds`.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        READ_ERRORS: the store can't be asked.
    """
    fs, path = open_filesystem(location, config)
    return Patience(config.retry_seconds).call(lambda: bool(fs.exists(path)))


def read_bytes(
    location: str,
    config: StorageConfig,
    most: int,
    on_retry: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    admit: Admit = refuse_redirect,
    seconds: float | None = None,
) -> bytes:
    """A file's first `most` + 1 bytes; longer than `most` means that it is too large.

    Passing faults of a store or network are tried again. Each try ends after `config.timeout_seconds`.

    Args:
        location: a local path or URI.
        config: how an object store is reached, and for how long faults are tried again.
        most: the largest file accepted, in bytes; no more is read.
        on_retry: called for each passing fault that is waited out.
        stopped: whether to give up; asked all the while.
        admit: says where a web server may lead to; it raises what it likes.
        seconds: most that a web server may take for it, all tries together; None sets no limit.

    Raises:
        FetchStopped: it was given up.
        StoreError: an object store could not be reached for `config.retry_seconds`, or refuses the
            credentials whatever is asked for. That is no fault of the file.
        READ_ERRORS: it does not exist, is no regular file or can't be read.
    """
    if not is_remote(location):
        return read_local(open_filesystem(location, config)[1], most)
    fs, path = open_filesystem(location, config, once=True)
    limit = math.inf if seconds is None or not is_web(location) else seconds
    until = time.monotonic() + limit

    def fetch() -> bytes:
        left = max(0.01, min(config.timeout_seconds, until - time.monotonic()))
        return fetch_remote(fs, path, most, left, stopped, admit)

    patience = Patience(min(config.retry_seconds, limit), stopped)
    try:
        return call_patiently(location, patience, fetch, on_retry)
    except (StoreError, *READ_ERRORS) as error:
        if stopped():
            raise FetchStopped from error
        raise


def read_checked(location: str, config: StorageConfig, parse: Callable[[bytes], T]) -> T:
    """What a whole file holds, parsed; read again before it counts as damaged. Passing faults are retried.

    Args:
        location: the file's path or URI.
        config: how an object store is reached.
        parse: makes of its bytes what is wanted; raises whatever it likes where they are damaged.

    Raises:
        StoreError: as `read_bytes`; also where the store answers each read otherwise.
        READ_ERRORS: it does not exist or can't be read.
        Exception: what `parse` raised.
    """
    fs, path = open_filesystem(location, config, once=is_remote(location))
    patience = Patience(config.retry_seconds)

    def read() -> bytes:
        return call_patiently(location, patience, lambda: cast(bytes, fs.cat_file(path)))

    if not is_remote(location):
        return parse(read())
    size = partial(find_size, location, config)
    found = read_surely(read, parse, size, config.retry_seconds, location)
    return cast(T, found)  # it is there, or `read` raised


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
    return Patience(config.retry_seconds).call(lambda: cast(bytes, fs.cat_file(path, start=start, end=end)))


def open_unpacked(location: str, config: StorageConfig) -> AbstractContextManager[IO[bytes]]:
    """Open a file for reading from its start; one whose name ends in .gz or the like is unpacked.

    Opening is tried again as in `read_range`.

    Raises:
        StoreError, READ_ERRORS: as `read_range`.
    """
    fs, path = open_filesystem(location, config)
    file: Any = Patience(config.retry_seconds).call(lambda: fs.open(path, "rb", compression="infer"))
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
        StoreError: as `read_bytes`; also where the local disk is full or the like.
        READ_ERRORS: as `read_bytes`.
    """
    fs, path = open_filesystem(location, config, once=True)

    def fetch(start: int) -> bytes:
        part = cast(bytes, fs.cat_file(path, start=start, end=min(start + _PART_BYTES, size)))
        if not part:
            raise OSError(errno.EIO, "the store gives nothing of a part that it must have")
        return part

    done = os.path.getsize(target) if os.path.exists(target) else 0
    while done < size:
        part = call_patiently(location, Patience(config.retry_seconds), partial(fetch, done))
        try:
            with open(target, "ab") as file:
                file.write(part)
        except OSError as error:
            raise StoreError(f"{target}: {explain_disk_error(error) or error.strerror}") from error
        done += len(part)


def find_size(location: str, config: StorageConfig) -> int | None:
    """A file's size in bytes; None where its server doesn't say, and of a web server, which is not asked.

    Raises:
        StoreError, READ_ERRORS: as `read_bytes`.
    """
    fs, path = open_filesystem(location, config, once=is_remote(location))
    if is_web(location):
        return None
    return call_patiently(location, Patience(config.retry_seconds), lambda: fs.info(path)).get("size")


def read_version(location: str, config: StorageConfig, admit: Admit = refuse_redirect) -> str:
    """What tells that a file changed: its ETag, or its size and time where there is none. One request.

    Passing faults of an object store are tried again for `config.retry_seconds`.

    Args:
        location: a local path or URI.
        config: how an object store is reached.
        admit: says where a web server may lead to; it raises what it likes.

    Raises:
        StoreError: as `read_bytes`.
        READ_ERRORS: it does not exist or can't be asked.
    """
    if not is_remote(location):
        stat = os.stat(location)
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    fs, path = open_filesystem(location, config, once=True)
    if is_web(location):  # asked for each image of a catalogue; many may be gone
        return _derive_version(look_up_web(fs, path, config.timeout_seconds, admit))
    return _derive_version(call_patiently(location, Patience(config.retry_seconds), lambda: fs.info(path)))


def _derive_version(info: dict[str, Any]) -> str:
    """The version of a file from its fsspec listing entry."""
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"
