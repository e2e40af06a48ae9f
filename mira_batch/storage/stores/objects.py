"""Reads and writes a run directory: create-only put, put, get, list, delete on any object store.

`create` is what the design rests on (docs/architecture.md): it makes an object under a name that does
not exist yet, whole or not at all, and says whether it did. Of any number of racing creators exactly
one gets True. Nothing here ever deletes after a failed create: the object that exists may be our own,
its answer lost.

Every call may be repeated, so every call is tried again after a passing fault (`faults.Patience`). obstore
does the work on s3, gcs, azure and memory; `local` writes local files, which survive a power cut.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import obstore
from obstore import exceptions as oe
from obstore.store import LocalStore, MemoryStore, ObjectStore

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.clients import open_client
from mira_batch.storage.stores.credentials import IDENTITY
from mira_batch.storage.stores.faults import Patience, explain_disk_error, explain_store_error
from mira_batch.storage.stores.local import delete_files, delete_temporaries, is_temporary, write_file
from mira_batch.storage.stores.rereads import read_surely

T = TypeVar("T")

Data = bytes | memoryview
"""What can be put; a view must be of unsigned bytes, so that it compares with bytes."""

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries where creates conflict."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as listed."""

    key: str
    """Relative to the store's root."""
    size: int
    """Bytes."""


class Store:
    """Objects under one root. Keys are relative, with '/' between parts. Safe to share by threads.

    Every method raises `StoreError` where the store refuses or can't be reached, also after retries.
    """

    def __init__(
        self, uri: str, store: ObjectStore, local: Path | None = None, retry_seconds: float = 0.0
    ) -> None:
        """`open_store` makes these.

        Args:
            uri: the root, a local path or a URI.
            store: obstore's client for that root.
            local: the root's directory where it is on a local disk; None: it is not.
            retry_seconds: how long passing faults of the store are tried again.
        """
        self.uri = uri
        """The root, for messages and for `location`."""
        self._store = store
        self._local = None if local is None else str(local)
        self._patience = Patience(retry_seconds, identity=None if local else IDENTITY)

    @property
    def name(self) -> str:
        """The last part of the root."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def locate(self, key: str) -> str:
        """The full path or URI of the object `key`. No request is made."""
        return f"{self.uri.rstrip('/')}/{key}"

    def create(self, key: str, data: Data, durable: bool = True) -> bool:
        """Put an object that must not exist yet.

        Args:
            key: of the object.
            data: all its bytes.
            durable: whether a local file must survive a power cut. With False it is whole for every reader,
                but a power cut may delete or damage it: for what is checked when it is read and can be made
                again. An object store is always durable.

        Returns:
            True: it was created. On a remote store True may also mean that an object with these very bytes
            exists: ours, of a try whose answer was lost. So a creator that must be told from its rivals puts
            something of its own into the bytes. False: another object exists; nothing changed.

        Raises:
            StoreError: the store refused or could not be reached, also after retries.
        """
        with self._explain_errors(key):
            if self._local is not None:
                return write_file(f"{self._local}/{key}", data, os.link, durable)
            for pause in _PAUSES:
                try:
                    self._patience.call(
                        lambda: obstore.put(self._store, key, data, mode="create", use_multipart=False)
                    )
                    return True
                except oe.AlreadyExistsError:
                    if (same := self._holds(key, data)) is not None:
                        return same
                    # obstore tells S3's 409 alike, which answers a conflict with another request and
                    # does not mean that an object exists
                    time.sleep(pause)
            raise StoreError(f"{self.locate(key)}: the store says again and again that it is in conflict")

    def put(self, key: str, data: Data) -> None:
        """Put an object, replacing one that is there.

        Raises:
            StoreError: as `create`.
        """
        with self._explain_errors(key):
            if self._local is not None:
                write_file(f"{self._local}/{key}", data, os.replace)
            else:
                self._patience.call(lambda: obstore.put(self._store, key, data, use_multipart=False))

    def copy(self, key: str, to: str) -> None:
        """Copy an object, replacing what is there; on an object store its bytes don't come here. Raises
        StoreError as `create`, and where there is no such object."""
        with self._explain_errors(key):
            self._patience.call(lambda: obstore.copy(self._store, key, to))

    def get(self, key: str) -> bytes | None:
        """An object's bytes, or None when there is none.

        Raises:
            StoreError: as `create`.
        """
        with self._explain_errors(key):
            try:
                if self._local is not None:
                    return Path(self._local, key).read_bytes()
                return self._patience.call(lambda: obstore.get(self._store, key).bytes().to_bytes())
            except (oe.NotFoundError, FileNotFoundError):
                return None

    def read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        """What an object holds, parsed, or None when there is none. It is read again before it counts as
        damaged.

        Args:
            key: of the object.
            parse: makes of its bytes what is wanted; raises whatever it likes where they are damaged.

        Raises:
            StoreError: as `create`; also where the store answers each read otherwise.
            Exception: what `parse` raised.
        """
        if self._local is not None:
            data = self.get(key)
            return None if data is None else parse(data)

        size = partial(self._find_size, key)
        return read_surely(lambda: self.get(key), parse, size, self._patience.seconds, self.locate(key))

    def _find_size(self, key: str) -> int | None:
        with self._explain_errors(key):
            try:
                return self._patience.call(lambda: obstore.head(self._store, key))["size"]
            except oe.NotFoundError:
                return None

    def _holds(self, key: str, data: Data) -> bool | None:
        """Whether an object has these bytes; None when there is none. An answer that differs is not believed
        at once, where it may be a part of these very bytes."""
        found = self.get(key)
        if found is None or found == data:
            return None if found is None else True
        return self._find_size(key) == len(data) and self.get(key) == data

    def hurry(self) -> None:
        """Wait no longer for a store that is gone: each call is tried once, and none after one has failed.
        For the end of a run that can't go on."""
        self._patience.hurry()

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The end of an object.

        Args:
            key: of the object.
            length: how many bytes of it.

        Returns:
            Its last `length` bytes (all of it, if it is shorter), and its whole size in bytes.

        Raises:
            StoreError: it is not there, or can't be read.
        """
        with self._explain_errors(key):
            if self._local is None:
                return self._patience.call(lambda: self._fetch_tail(key, length))
            with open(f"{self._local}/{key}", "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - length))
                return file.read(), size

    def _fetch_tail(self, key: str, length: int) -> tuple[bytes, int]:
        found = obstore.get(self._store, key, options={"range": {"suffix": length}})
        return found.bytes().to_bytes(), found.meta["size"]

    def exists(self, key: str) -> bool:
        """Whether there is such an object.

        Raises:
            StoreError: as `create`.
        """
        with self._explain_errors(key):
            try:
                if self._local is not None:
                    os.stat(f"{self._local}/{key}")
                else:
                    self._patience.call(lambda: obstore.head(self._store, key))
            except (oe.NotFoundError, FileNotFoundError):
                return False
            return True

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects below `prefix` (whole parts of a path, '' for all), in no set order.

        Raises:
            StoreError: as `create`, at the first step of the iteration.
        """
        with self._explain_errors(prefix):
            for entry in self._patience.call(lambda: self._list_all(prefix)):
                if self._local is None or not is_temporary(entry.key):
                    yield entry

    def _list_all(self, prefix: str) -> list[Entry]:
        pages = obstore.list(self._store, prefix, chunk_size=1000)
        return [Entry(meta["path"], meta["size"]) for page in pages for meta in page]

    def list_folders(self, prefix: str = "") -> list[str]:
        """Names of the 'directories' right below `prefix`, sorted: one LIST.

        Raises:
            StoreError: as `create`.
        """
        with self._explain_errors(prefix):
            found = self._patience.call(lambda: obstore.list_with_delimiter(self._store, prefix or None))
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that don't exist count as deleted.

        Raises:
            StoreError: as `create`.
        """
        keys = list(keys)
        with self._explain_errors(keys[0] if keys else ""):
            if self._local is not None:
                delete_files(self._local, keys)
                return
            try:
                if keys:
                    self._patience.call(lambda: obstore.delete(self._store, keys))
            except (oe.NotFoundError, FileNotFoundError):
                if len(keys) > 1:
                    for key in keys:
                        self.delete([key])

    def delete_temporaries(self, prefix: str = "", folders: bool = True) -> list[Entry]:
        """Delete the half-written files of killed processes below `prefix`, and, but for `folders=False`,
        directories without any file. Only a local store has such.

        Returns:
            What was deleted.

        Raises:
            StoreError: one can't be deleted.
        """
        if self._local is None:
            return []
        with self._explain_errors(prefix):
            found = delete_temporaries(self._local, prefix, folders)
            return [Entry(key, size) for key, size in found.items()]

    @contextmanager
    def _explain_errors(self, key: str) -> Iterator[None]:
        """Turn the store's errors into one that says what to check."""
        try:
            yield
        except StoreError:
            raise
        except (oe.BaseError, OSError) as error:
            raise StoreError(f"{self.locate(key)}: {explain_store_error(error)}") from error


def open_store(uri: str, config: StorageConfig, make: bool = True) -> Store:
    """Open the store that holds `uri` as its root. No request is made yet.

    Args:
        uri: a local directory, or the URI of a bucket or of a prefix in one.
        config: how an object store is reached.
        make: make a local directory that isn't there, instead of refusing it.

    Raises:
        StoreError: scheme or settings don't fit; a local directory is missing, a file, or can't be made.
    """
    if not is_remote(uri):
        path = Path(uri)
        if os.path.exists(path) and not os.path.isdir(path):  # in this order: somebody may just be making it
            raise StoreError(f"{uri}: is a file, not a directory; correct the path")
        if not (make or os.path.isdir(path)):
            raise StoreError(f"{uri}: no such directory")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = explain_disk_error(error) or error.strerror
            raise StoreError(f"{uri}: can't make this directory: {why}") from error
        return Store(uri, LocalStore(path), path)
    if uri.startswith("memory://"):
        return Store(uri, MemoryStore())
    return Store(uri, open_client(uri, config), retry_seconds=config.retry_seconds)
