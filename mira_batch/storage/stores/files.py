"""Reads files that users point at (manifests, images, weights), of any scheme; `listings.py` finds them.

Whole files and ranges go through fsspec (s3fs for s3://). Parquet is read through Arrow instead:
`filesystems.open_arrow_filesystem`.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Any, TypeVar, cast

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import (
    Patience,
    call_patiently,
    explain_disk_error,
    is_web,
    read_errors,
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
from mira_batch.storage.stores.listings import derive_version
from mira_batch.storage.stores.rereads import read_surely

T = TypeVar("T")
_PART_BYTES = 64_000_000
"""Of a large file, what is fetched in one request."""


def file_exists(location: str, config: StorageConfig) -> bool:
    """Whether something exists at a location. Passing faults are tried again for `config.retry_seconds`.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
        read_errors(): the store can't be asked.
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
        read_errors(): it does not exist, is no regular file or can't be read.
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
    except (StoreError, *read_errors()) as error:
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
        read_errors(): it does not exist or can't be read.
        Exception: what `parse` raised.
    """
    fs, path = open_filesystem(location, config, once=is_remote(location))
    patience = Patience(config.retry_seconds)

    def read() -> bytes:
        return call_patiently(location, patience, lambda: cast("bytes", fs.cat_file(path)))

    if not is_remote(location):
        return parse(read())
    size = partial(find_size, location, config)
    found = read_surely(read, parse, size, config.retry_seconds, location)
    return cast("T", found)  # it is there, or `read` raised


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
        read_errors(): it does not exist or can't be read.
    """
    fs, path = open_filesystem(location, config)
    return Patience(config.retry_seconds).call(lambda: cast("bytes", fs.cat_file(path, start=start, end=end)))


def open_unpacked(location: str, config: StorageConfig) -> AbstractContextManager[IO[bytes]]:
    """Open a file for reading from its start; one whose name ends in .gz or the like is unpacked.

    Opening is tried again as in `read_range`.

    Raises:
        StoreError, read_errors(): as `read_range`.
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
        read_errors(): as `read_bytes`.
    """
    fs, path = open_filesystem(location, config, once=True)

    def fetch(start: int) -> bytes:
        part = cast("bytes", fs.cat_file(path, start=start, end=min(start + _PART_BYTES, size)))
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
        StoreError, read_errors(): as `read_bytes`.
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
        read_errors(): it does not exist or can't be asked.
    """
    if not is_remote(location):
        stat = os.stat(location)
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    fs, path = open_filesystem(location, config, once=True)
    if is_web(location):  # asked for each image of a catalogue; many may be gone
        return derive_version(look_up_web(fs, path, config.timeout_seconds, admit))
    return derive_version(call_patiently(location, Patience(config.retry_seconds), lambda: fs.info(path)))
