"""Turns a split of a manifest into plan rows: validated, with a work_id each. Runs on any worker."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from hashlib import blake2b
from itertools import islice
from typing import Any

import pyarrow as pa

from mira_batch.config.base import is_remote
from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import content_hash, work_id
from mira_batch.storage import schema
from mira_batch.storage.images import check_allowed
from mira_batch.storage.manifest.planned import read_state
from mira_batch.storage.manifest.rows import Embedded, Record, Reject
from mira_batch.storage.manifest.splits import Split, read_split
from mira_batch.storage.stores import CONNECTIONS, list_versions, read_errors, read_version

SCAN = schema.scan_schema(schema.PLAN)
"""What `scan_split` gives."""
_ROWS = 5_000
_LOOKUPS = CONNECTIONS
"""HEAD requests of a task at once, since each mostly waits. What bounds them is the CPU: s3fs takes 2 to 3 ms
for each, so at a store's usual 20 to 50 ms more threads would hardly be served faster."""


def scan_split(
    split: Split, source: ManifestConfig, storage: StorageConfig, fingerprint: str
) -> Iterator[pa.Table]:
    """The rows of a split in order, in tables of schema `SCAN`.

    Args:
        split: which part of the manifest.
        source: the manifest.
        storage: how object stores are reached.
        fingerprint: the job's, which is part of each work id.

    Raises:
        ManifestError: the file can't be read to its end.
    """
    local_version = _make_local_lookup(source)
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        stream = read_split(split, source, storage)
        while rows := list(islice(stream, _ROWS)):
            uris = {r.image for r in rows if isinstance(r, Record) and isinstance(r.image, str)}
            identities = _identify(uris, source, storage, pool, local_version)
            if source.begins_within:
                rows = [_check_state(row) for row in rows]
            within = source.begins_within
            yield _build_table([_scan(row, identities, fingerprint, within) for row in rows])


def identify_images(uris: Collection[str], source: ManifestConfig, storage: StorageConfig) -> dict[str, str]:
    """URI -> what tells its content, as `source.identity` says; empty where the URIs alone do.

    Args:
        uris: of images.
        source: the manifest that names them.
        storage: how object stores are reached.
    """
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        return _identify(uris, source, storage, pool, _make_local_lookup(source))


def _identify(
    uris: Collection[str],
    source: ManifestConfig,
    storage: StorageConfig,
    pool: ThreadPoolExecutor,
    local_version: Callable[[str], str | None],
) -> dict[str, str]:
    """URI -> what tells its content. An image that can't be looked up fails later, in its own row."""
    if source.identity == "uri":
        return {}
    uris = sorted(uris)

    def admit(uri: str) -> None:
        check_allowed(uri, source.allowed)

    def look_up(uri: str) -> str:
        try:
            check_allowed(uri, source.allowed)
            return read_version(uri, storage, admit)
        except (RecordError, *read_errors()):
            return "unknown"

    remote = [uri for uri in uris if is_remote(uri)]
    found = list_versions([uri for uri in remote if _is_allowed(uri, source)], storage)
    rest = [uri for uri in remote if uri not in found]
    found |= zip(rest, pool.map(look_up, rest), strict=True)
    for uri in uris:  # a local one is looked up quicker than a thread is told to
        if uri not in found:
            found[uri] = local_version(uri) or look_up(uri)
    return found


def _is_allowed(uri: str, source: ManifestConfig) -> bool:
    try:
        check_allowed(uri, source.allowed)
    except (RecordError, ValueError):
        return False
    return True


def _make_local_lookup(source: ManifestConfig) -> Callable[[str], str | None]:
    """A function that gives a local file's version as `look_up` would, with one system call, or None.

    `check_allowed` resolves every folder of a path. Here each folder is resolved once for a whole split: a
    file in it that is no link is allowed if the folder is. None stands for all that is not so plain.
    """

    is_allowed = cache(partial(_is_allowed, source=source))

    def local_version(uri: str) -> str | None:
        folder, _, name = uri.rpartition("/")
        if not folder.startswith("/") or name in ("", ".") or ".." in name or "::" in name:
            return None
        if not is_allowed(folder):
            return None
        try:
            found = os.lstat(uri)
        except (OSError, ValueError):
            return None
        return None if stat.S_ISLNK(found.st_mode) else f"{found.st_size}-{found.st_mtime_ns}"

    return local_version


def _check_state(row: Record | Reject) -> Record | Reject:
    if isinstance(row, Reject) or read_state(row.metadata) is not None:
        return row
    reason = "should name a state: {work_id: 32 hex digits, steps: 0 or more}"
    return Reject(row.where, row.record_id, "branch", reason)


def _scan(
    row: Record | Reject, identities: dict[str, str], fingerprint: str, within: bool
) -> tuple[Any, ...]:
    """A row's values in the order of `SCAN`."""
    if isinstance(row, Reject):
        return (row.record_id, *[None] * 9, row.where, row.field, row.reason, None)
    uri = file = group = index = None
    if isinstance(row.image, Embedded):
        place, identity = row.image.place, row.image.digest
        file, group, index = place.file, place.row_group, place.row
    else:
        uri, identity = row.image, f"{row.image}\n{identities.get(row.image, '')}"
    if within:
        identity = f"{identity}\n{read_state(row.metadata)}"
    work = work_id(row.record_id, identity, row.instruction, fingerprint)
    digest = blake2b(row.record_id.encode(), digest_size=16).digest()
    parts = (content_hash(identity, size=8), content_hash(row.instruction, size=8))
    plan = (row.record_id, work, row.instruction, uri, file, group, index, row.metadata, *parts)
    return (*plan, row.where, None, None, digest)


def _build_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCAN, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCAN)
