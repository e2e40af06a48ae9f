"""Opens the file system that a location belongs to: fsspec's for every scheme, and Arrow's for Parquet."""

from __future__ import annotations

import os
from functools import partial, wraps
from typing import Any, cast

import fsspec
import pyarrow.fs as pafs
from fsspec import AbstractFileSystem
from pyarrow.fs import FileSystem as ArrowFileSystem

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.storage.stores.faults import read_errors
from mira_batch.storage.stores.profiles import Profile, find_profile

_KNOWN = ("file", "memory")
"""Schemes beside S3 and HTTP whose file systems raise what `read_errors()` names."""
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}
"""Schemes that need more than the package's own requirements, and the extra that brings it."""
CONNECTIONS = 32
"""Most requests of one file system at once."""


def open_filesystem(
    location: str, config: StorageConfig, once: bool = False
) -> tuple[AbstractFileSystem, str]:
    """Open fsspec's file system for a location. No request is made yet.

    Args:
        location: a local path or a URI of any scheme that fsspec knows.
        config: how an object store is reached.
        once: the file system tries nothing again by itself: for calls that the caller tries again.

    Returns:
        The file system, and the location's path in it.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
    """
    scheme = location.split("://", 1)[0].lower() if is_remote(location) else "file"
    try:
        fs = _open_scheme(scheme, location, config, once)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"it needs a package: pip install 'mira-batch[{extra}]'" if extra else describe(error)
        raise StoreError(f"{location}: can't use this scheme: {remedy}") from error
    except Exception as error:  # fsspec's own say what they need in classes of their own
        raise StoreError(f"{location}: can't use this scheme: {describe(error)}") from error
    return fs, str(fs._strip_protocol(location))


class _Classified:
    """A file system whose calls raise nothing that is not among `read_errors()`. Those of other schemes than
    ours let through whatever their clients raise."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # else a copy, which has no file system yet, would look for ever
            raise AttributeError(name)
        found = getattr(self._fs, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return found(*arguments, **options)
            except read_errors():
                raise
            except Exception as error:
                raise OSError(describe(error)) from error

        return call


def _open_scheme(scheme: str, location: str, config: StorageConfig, once: bool) -> AbstractFileSystem:
    if scheme in ("http", "https"):
        # A redirect could lead anywhere, past input.allow.
        return fsspec.filesystem(scheme, allow_redirects=False)
    if scheme not in ("s3", "s3a"):
        if scheme in _KNOWN:
            return fsspec.filesystem(scheme)
        kind: Any = fsspec.get_filesystem_class(scheme)  # some take the host from the location
        return cast("AbstractFileSystem", _Classified(kind(**kind._get_kwargs_from_urls(location))))
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
    if host := find_endpoint(config):  # that of a profile it finds itself
        options["endpoint_url"] = host
    fs: Any = fsspec.filesystem("s3", **options)
    fs.split_path = partial(_split_s3_path, fs)
    if once:
        fs.retries = 1  # s3fs nests its five: 25 tries of a time-out, however long that is
    return fs


def _split_s3_path(fs: Any, path: str) -> tuple[str, str, None]:
    """Bucket and key, taken literally: s3fs itself cuts a key off at `?versionId=`."""
    bucket, key = fs._find_bucket_key(fs._strip_protocol(path).lstrip("/"))
    return bucket, key + path[len(path.rstrip("/")) :] if key else "", None


def open_arrow_filesystem(location: str, config: StorageConfig) -> tuple[ArrowFileSystem, str]:
    """Open Arrow's file system for a location: its own for local files and S3, fsspec's for other schemes.

    Arrow's own reads the ranges asked for and no more, and its threads don't hold a Python object when the
    process ends, which could abort it.

    Args:
        location: as `open_filesystem`.
        config: how an object store is reached.

    Returns:
        The file system, which threads may share, and the location's path in it.

    Raises:
        StoreError: no such scheme, or the package for it isn't installed.
    """
    fs, path = open_filesystem(location, config)
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if "file" in protocols:
        return pafs.LocalFileSystem(), path
    if "s3" not in protocols:
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), path
    profile = find_profile()
    host = find_endpoint(config, profile)
    key = profile() if profile else None
    s3 = pafs.S3FileSystem(
        access_key=key and key["access_key_id"],
        secret_key=key and key["secret_access_key"],
        session_token=key and key.get("token"),
        endpoint_override=host,
        scheme="http" if host and host.startswith("http://") else "https",
        region=find_region(config, profile),
        request_timeout=config.timeout_seconds,
    )
    return s3, path


def find_endpoint(config: StorageConfig, profile: Profile | None = None) -> str | None:
    """The S3 endpoint: from the config, else from the usual variables, else from a profile, else None for AWS
    itself."""
    return (
        config.endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or (profile.endpoint if profile else None)
    )


def find_region(config: StorageConfig, profile: Profile | None) -> str | None:
    """The region of S3: from the config, else from the usual variables, else from a profile."""
    return (
        config.region
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or (profile.region if profile else None)
    )
