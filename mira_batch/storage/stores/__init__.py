"""Object stores and file systems: the only room that knows their clients.

Owns how bytes are reached, wherever they are: a run directory (`Store`, with its create-only put), files that
users point at, by any scheme (`find_files`, `read_bytes` and the like), and Arrow's file systems for Parquet.
It owns retries, and what a store's errors mean to a user. docs/adr/0005 says which client does what.

Leaves to others what the bytes mean: manifests to `storage.manifest`, a run's layout and files to
`storage.run`, images and weights to `storage.images` and `storage.weights`.
"""

from mira_batch.storage.stores.check import CHECK_PREFIX, check_create_only
from mira_batch.storage.stores.credentials import explain_refusal
from mira_batch.storage.stores.faults import (
    describe_read_error,
    explain_disk_error,
    read_errors,
    shorten_error,
)
from mira_batch.storage.stores.fetches import FetchStopped
from mira_batch.storage.stores.files import (
    download,
    file_exists,
    find_size,
    open_unpacked,
    read_bytes,
    read_checked,
    read_range,
    read_version,
)
from mira_batch.storage.stores.filesystems import (
    CONNECTIONS,
    ArrowFileSystem,
    find_endpoint,
    find_region,
    open_arrow_filesystem,
)
from mira_batch.storage.stores.listings import FileInfo, find_files, list_files_below, resolve_links
from mira_batch.storage.stores.objects import Entry, Store, open_store
from mira_batch.storage.stores.profiles import find_profile
from mira_batch.storage.stores.rereads import read_surely
from mira_batch.storage.stores.versions import list_versions

__all__ = [
    "CHECK_PREFIX",
    "CONNECTIONS",
    "read_errors",
    "ArrowFileSystem",
    "Entry",
    "FetchStopped",
    "FileInfo",
    "Store",
    "check_create_only",
    "describe_read_error",
    "download",
    "explain_disk_error",
    "explain_refusal",
    "file_exists",
    "find_endpoint",
    "find_files",
    "find_profile",
    "find_region",
    "find_size",
    "list_files_below",
    "list_versions",
    "open_arrow_filesystem",
    "open_store",
    "open_unpacked",
    "read_bytes",
    "read_checked",
    "read_range",
    "read_surely",
    "read_version",
    "resolve_links",
    "shorten_error",
]
