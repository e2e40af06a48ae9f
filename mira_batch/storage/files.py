"""Files that users point at (manifests, images), of any scheme, through fsspec (s3fs for s3://) or Arrow."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import aiohttp
import fsspec
import pyarrow.fs as pafs
from botocore.exceptions import BotoCoreError, HTTPClientError
from fsspec import AbstractFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from mira_batch.config.base import is_remote
from mira_batch.config.bulk_edit import StorageConfig
from mira_batch.core.errors import StoreError, describe

_BUSY = {429, 500, 502, 503, 504}
_PASSING = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ETIMEDOUT}
"""What s3fs makes of 500, 503, SlowDown and the like."""
READ_ERRORS = (OSError, ValueError, BotoCoreError, aiohttp.ClientError)
"""What reading a file through fsspec may raise, whatever its scheme."""


def filesystem(location: str, config: StorageConfig) -> tuple[AbstractFileSystem, str]:
    """The file system that holds `location`, and the location's path in it.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
    """
    scheme = location.split("://", 1)[0].lower() if is_remote(location) else "file"
    try:
        fs = _open(scheme, config)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{location}: can't use this scheme: {error}") from error
    return fs, str(fs._strip_protocol(location))


def _open(scheme: str, config: StorageConfig) -> AbstractFileSystem:
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
            "connect_timeout": min(10.0, config.timeout_seconds),
            "read_timeout": config.timeout_seconds,
            "retries": {"max_attempts": 1},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        "client_kwargs": {"region_name": config.region} if config.region else {},
    }
    if host := endpoint(config):
        options["endpoint_url"] = host
    return fsspec.filesystem("s3", **options)


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
        StoreError: an object store could not be reached for all that time. That is no fault of the file.
        OSError: it does not exist or can't be read.
    """
    fs, path = filesystem(location, config)
    if not is_remote(location):
        with open(path, "rb") as file:
            return file.read(most + 1)
    again = Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        stop=stop_after_delay(config.retry_seconds),
        before_sleep=None if on_retry is None else lambda _: on_retry(),
        reraise=True,
    )
    try:
        data: Any = again(fs.cat_file, path, start=0, end=most + 1)
    except READ_ERRORS as error:
        # A web server of one image may be gone for good; a bucket that fails so long fails every record.
        if is_passing(error) and not location.startswith("http"):
            raise StoreError(
                f"{location}: the store has failed for {config.retry_seconds:g} s; run the same command "
                f"again when it is back ({one_line(error)})"
            ) from error
        raise
    return data


def is_passing(error: BaseException) -> bool:
    """Whether a fault may be gone at the next try: time-outs, resets, 500 and 503, a body cut short."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    passing = TimeoutError, ConnectionError, HTTPClientError, aiohttp.ClientConnectionError
    if isinstance(error, (*passing, aiohttp.ClientPayloadError)):
        return True
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _BUSY
    return isinstance(error, OSError) and error.errno in _PASSING


def version(location: str, config: StorageConfig) -> str:
    """What tells that a file changed: its ETag, or its size and time where there is none.

    Raises:
        OSError: it does not exist or can't be asked.
    """
    if not is_remote(location):
        stat = os.stat(location)
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    fs, path = filesystem(location, config)
    return version_of(fs.info(path))


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
