"""Files that users point at (manifests, images), of any scheme, through fsspec (s3fs for s3://) or Arrow."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import fsspec
import pyarrow.fs as pafs
from botocore.exceptions import BotoCoreError
from fsspec import AbstractFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.storage.stores.faults import is_passing, patience, refusal

READ_ERRORS = (OSError, ValueError, BotoCoreError, aiohttp.ClientError)
"""What reading a file through fsspec may raise, whatever its scheme."""
CONNECTIONS = 32
"""Most requests of one file system at once."""
_PIECE = 64_000_000
"""Bytes of a large file that are fetched in one request."""


def filesystem(location: str, config: StorageConfig, once: bool = False) -> tuple[AbstractFileSystem, str]:
    """The file system that holds `location`, and the location's path in it.

    With `once` it tries nothing again by itself: for calls that the caller tries again.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
    """
    scheme = location.split("://", 1)[0].lower() if is_remote(location) else "file"
    try:
        fs = _open(scheme, config, once)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{location}: can't use this scheme: {error}") from error
    return fs, str(fs._strip_protocol(location))


def _open(scheme: str, config: StorageConfig, once: bool) -> AbstractFileSystem:
    if scheme in ("http", "https"):
        # A redirect could lead anywhere, past input.allow.
        return fsspec.filesystem(scheme, allow_redirects=False)
    if scheme not in ("s3", "s3a"):
        return fsspec.filesystem(scheme)
    options: dict[str, Any] = {
        "use_listings_cache": False,
        "default_fill_cache": False,
        # botocore retries by itself and s3fs retries around it; both at their defaults multiply to 25
        # requests and 42 s on a store that is down.
        "config_kwargs": {
            "max_pool_connections": CONNECTIONS,
            "connect_timeout": min(10.0, config.timeout_seconds),
            "read_timeout": config.timeout_seconds,
            "retries": {"max_attempts": 0 if once else 1},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        "client_kwargs": {"region_name": config.region} if config.region else {},
    }
    if host := endpoint(config):
        options["endpoint_url"] = host
    fs = fsspec.filesystem("s3", **options)
    if once:
        fs.retries = 1  # s3fs nests its five: 25 tries of a time-out, however long that is
    return fs


def arrow_filesystem(location: str, config: StorageConfig) -> tuple[pafs.FileSystem, str]:
    """The same for Arrow: its own file system where it has one.

    That reads the ranges asked for and no more, and its threads don't hold a Python object when the process
    ends, which could abort it.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
    """
    fs, path = filesystem(location, config)
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if "file" in protocols:
        return pafs.LocalFileSystem(), path
    if "s3" not in protocols:
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), path
    host = endpoint(config)
    s3 = pafs.S3FileSystem(
        endpoint_override=host,
        scheme="http" if host and host.startswith("http://") else "https",
        region=config.region,
        request_timeout=config.timeout_seconds,
    )
    return s3, path


def endpoint(config: StorageConfig) -> str | None:
    """The S3 endpoint: from the config, else from the usual variables, else None for AWS itself."""
    return (
        config.endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or None
    )


def read_bytes(
    location: str, config: StorageConfig, most: int, on_retry: Callable[[], None] | None = None
) -> bytes:
    """A file's first `most` + 1 bytes, in one request; longer than `most` means that it is too large.

    Passing faults of a store or network are tried again for `config.retry_seconds`; `on_retry` is told each.

    Raises:
        StoreError: an object store could not be reached for all that time, or refuses the credentials
            whatever is asked for. That is no fault of the file.
        OSError: it does not exist or can't be read.
    """
    if not is_remote(location):
        with open(filesystem(location, config)[1], "rb") as file:
            return file.read(most + 1)
    fs, path = filesystem(location, config, once=True)
    return _patiently(location, config, lambda: fs.cat_file(path, start=0, end=most + 1), on_retry)


def download(location: str, config: StorageConfig, target: str, size: int) -> None:
    """Copy a file of `size` bytes to a local path, in pieces; what is there of it already is kept.

    Passing faults are tried again as in `read_bytes`, each piece for `config.retry_seconds`.

    Raises:
        StoreError, OSError: as `read_bytes`.
    """
    fs, path = filesystem(location, config, once=True)
    with open(target, "ab") as file:
        while (start := file.tell()) < size:
            piece = partial(fs.cat_file, path, start=start, end=min(start + _PIECE, size))
            file.write(_patiently(location, config, piece))


def version(location: str, config: StorageConfig) -> str:
    """What tells that a file changed: its ETag, or its size and time where there is none.

    Raises:
        StoreError: as `read_bytes`.
        OSError: it does not exist or can't be asked.
    """
    if not is_remote(location):
        stat = os.stat(location)
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    fs, path = filesystem(location, config, once=True)
    if _is_web(location):
        return version_of(fs.info(path))  # asked for each image of a catalogue; many may be gone
    return version_of(_patiently(location, config, lambda: fs.info(path)))


def _patiently(
    location: str, config: StorageConfig, call: Callable[[], Any], on_retry: Callable[[], None] | None = None
) -> Any:
    """The call's answer, also after tries that failed by a passing fault."""
    try:
        return patience(config.retry_seconds, on_retry)(call)
    except READ_ERRORS as error:
        if _is_web(location):  # the server of one image may be gone for good
            raise
        # A bucket that fails so long fails every record, and so do credentials that are good for nothing.
        if is_passing(error):
            raise StoreError(
                f"{location}: the store has failed for {config.retry_seconds:g} s; run the same command "
                f"again when it is back ({one_line(error)})"
            ) from error
        if what := refusal(error):
            raise StoreError(f"{location}: {what} ({one_line(error)})") from error
        raise


def _is_web(location: str) -> bool:
    return location.startswith("http")


def version_of(info: dict[str, Any]) -> str:
    """The same from an fsspec listing entry."""
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"


def unreadable(location: str, error: Exception) -> str:
    """One line that says why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return f"{location}: no such file"
    if isinstance(error, PermissionError):
        return f"{location}: access denied; check the credentials and their rights ({one_line(error)})"
    return f"{location}: {one_line(error)}"


def one_line(error: Exception) -> str:
    """An error in at most 300 characters of one line; Arrow's, for one, have several."""
    return " ".join(describe(error).split())[:300]
