"""Makes obstore's client for the root of a run's directory on an object store."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from obstore import exceptions as oe
from obstore.store import ObjectStore, from_url

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import shorten_store_error
from mira_batch.storage.stores.filesystems import find_endpoint, find_region
from mira_batch.storage.stores.profiles import find_profile


def open_client(uri: str, config: StorageConfig) -> ObjectStore:
    """The client of a bucket, or of a prefix in one, whose key is taken literally. No request is made.

    Args:
        uri: of the bucket or prefix.
        config: how it is reached.

    Raises:
        StoreError: the scheme is unknown, the settings don't fit it, or clients would change the key.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        raise StoreError(f"{uri}: no part of its key may be empty, '.' or '..'")
    profile = find_profile() if uri.startswith("s3") else None
    host = find_endpoint(config, profile) if uri.startswith("s3") else None
    options: dict[str, object] = {
        "client_options": {
            "timeout": timedelta(seconds=config.timeout_seconds),
            "connect_timeout": timedelta(seconds=min(10.0, config.timeout_seconds)),
            "allow_http": bool(host and host.startswith("http://")),
        },
        "retry_config": {"max_retries": 0},  # `Patience` does that, by one clock for all calls
    }
    if uri.startswith("s3"):
        options["region"] = find_region(config, profile) or "us-east-1"
        options |= {"endpoint": host} if host else {}
        options |= {"credential_provider": profile} if profile else {}
    # It reads a URL: a `#`, `?` or `%` of the key must be written as one, or it would end or change the key.
    url = f"{uri.partition('://')[0]}://{bucket}/{quote(key)}"
    try:
        return from_url(url, **options)  # type: ignore[arg-type]
    except (oe.BaseError, ValueError) as error:
        raise StoreError(f"{uri}: {shorten_store_error(error)}") from error
