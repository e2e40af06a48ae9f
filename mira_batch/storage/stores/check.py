"""Checks, before anything is spent, that a store keeps what a run's commits rest on."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.objects import Store

CHECK_PREFIX = ".mira-batch-check-"
"""How the name of the folder begins in which `check_create_only` creates its object."""
_RACERS = 16
"""Creates of one object at once by `check_create_only`."""


def check_create_only(store: Store) -> None:
    """Race sixteen creates of one object and refuse a store that lets more or fewer than one win.

    Also proves that the run may write, list and delete here. The object is deleted again.

    Raises:
        StoreError: the store can't be written, or its create-only put can't be relied on.
    """
    folder = f"{CHECK_PREFIX}{secrets.token_hex(8)}"
    key = f"{folder}/object"
    with ThreadPoolExecutor(_RACERS) as pool:
        wins = sum(pool.map(lambda i: store.create(key, f"racer {i}".encode()), range(_RACERS)))
    try:
        if wins != 1:
            raise StoreError(
                f"{store.uri}: {wins} of {_RACERS} racing creates of one object succeeded; exactly one "
                "must. This store ignores If-None-Match, so two workers could both commit a shard: use "
                "one that supports create-only puts (AWS S3, MinIO, Ceph, GCS, Azure, a local disk)"
            )
        if store.get(key) is None:
            raise StoreError(f"{store.uri}: an object just created can't be read back")
        if [entry.key for entry in store.list(folder)] != [key]:
            raise StoreError(f"{store.uri}: an object just created is not listed")
    finally:
        store.delete([key])
