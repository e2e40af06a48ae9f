"""The run directory's only door: create-only put, put, get, list, delete on any object store.

`create` is what the design rests on (docs/architecture.md): it makes an object under a name that does
not exist yet, whole or not at all, and says whether it did. Exactly one of any number of racing
creators is told True. Nothing here ever deletes after a failed create: the object that stands may be
our own, its answer lost.

All calls bear repeating, so all are tried again while a connection breaks off; obstore by itself tries
only some of them again.

obstore (Rust object_store) does the work on s3, gcs, azure and memory. Local files are our own few
lines, because a commit must also survive a power cut: temporary file, fsync, hard link.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import obstore
from obstore import exceptions as oe
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import advice, first_line, patience
from mira_batch.storage.stores.files import endpoint

T = TypeVar("T")

Data = bytes | memoryview
"""What can be put; a view must be of unsigned bytes, so that it compares with bytes."""

CHECK = ".mira-batch-check-"
"""How the folder begins in which `check_create_only` races."""
_RACERS = 16
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries where creates conflict."""
_TEMPORARY = re.compile(r"(^|/)\.[^/]+\.[0-9a-f]{16}\.tmp$")
"""A local file in the making, or what a killed process left of one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as listed."""

    key: str
    """Relative to the store's root."""
    size: int
    """Bytes."""


class Store:
    """Objects under one root. Keys are relative, with '/' between parts. Safe to share by threads."""

    def __init__(
        self, uri: str, store: ObjectStore, local: Path | None = None, retry_seconds: float = 0.0
    ) -> None:
        self.uri = uri
        """The root, for messages and for `location`."""
        self._store = store
        self._local = local
        self._retry_seconds = retry_seconds

    @property
    def name(self) -> str:
        """The last part of the root."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def location(self, key: str) -> str:
        """The full path or URI of an object."""
        return f"{self.uri.rstrip('/')}/{key}"

    def create(self, key: str, data: Data, durable: bool = True) -> bool:
        """Put an object that must not exist yet. False: another one exists; nothing changed.

        On a remote store True may also mean that an object with these very bytes exists: ours, of a try whose
        answer was lost. So whoever must be told from its rivals puts something of its own into the bytes.

        With `durable=False` a local file is whole for every reader, but a power cut may take or damage
        it: for what is checked when it is read and can be made again.

        Raises:
            StoreError: the store refused or could not be reached, also after retries.
        """
        with self._explained(key):
            if self._local is not None:
                return _write_file(self._local / key, data, os.link, durable)
            for pause in _PAUSES:
                try:
                    self._patiently(
                        lambda: obstore.put(self._store, key, data, mode="create", use_multipart=False)
                    )
                    return True
                except oe.AlreadyExistsError:
                    if (standing := self.get(key)) is not None:
                        return standing == data
                    # obstore tells S3's 409 alike, which answers a conflict with another request and
                    # does not mean that an object stands
                    time.sleep(pause)
            raise StoreError(f"{self.location(key)}: the store says again and again that it is in conflict")

    def put(self, key: str, data: Data) -> None:
        """Put an object, replacing what is there."""
        with self._explained(key):
            if self._local is not None:
                _write_file(self._local / key, data, os.replace)
            else:
                self._patiently(lambda: obstore.put(self._store, key, data, use_multipart=False))

    def get(self, key: str) -> bytes | None:
        """An object's bytes, or None when there is none."""
        with self._explained(key):
            try:
                if self._local is not None:
                    return (self._local / key).read_bytes()
                return self._patiently(lambda: obstore.get(self._store, key).bytes().to_bytes())
            except (oe.NotFoundError, FileNotFoundError):
                return None

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """An object's last `length` bytes (all of it, if it is shorter), and its size.

        Raises:
            StoreError: it is not there, or can't be read.
        """
        with self._explained(key):
            if self._local is None:
                return self._patiently(lambda: self._tail(key, length))
            with open(self._local / key, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - length))
                return file.read(), size

    def _tail(self, key: str, length: int) -> tuple[bytes, int]:
        found = obstore.get(self._store, key, options={"range": {"suffix": length}})
        return found.bytes().to_bytes(), found.meta["size"]

    def exists(self, key: str) -> bool:
        with self._explained(key):
            try:
                if self._local is not None:
                    (self._local / key).stat()
                else:
                    self._patiently(lambda: obstore.head(self._store, key))
            except (oe.NotFoundError, FileNotFoundError):
                return False
            return True

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects below `prefix` (a whole path part), in no set order."""
        with self._explained(prefix):
            for entry in self._patiently(lambda: self._listed(prefix)):
                if self._local is None or not _TEMPORARY.search(entry.key):
                    yield entry

    def _listed(self, prefix: str) -> list[Entry]:
        pages = obstore.list(self._store, prefix, chunk_size=1000)
        return [Entry(meta["path"], meta["size"]) for page in pages for meta in page]

    def children(self, prefix: str = "") -> list[str]:
        """Names of the 'directories' right below `prefix`, sorted: one LIST."""
        with self._explained(prefix):
            found = self._patiently(lambda: obstore.list_with_delimiter(self._store, prefix or None))
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that don't exist count as deleted."""
        keys = list(keys)
        with self._explained(keys[0] if keys else ""):
            if self._local is not None:
                _unlink(self._local, keys)
                return
            try:
                if keys:
                    self._patiently(lambda: obstore.delete(self._store, keys))
            except (oe.NotFoundError, FileNotFoundError):
                if len(keys) > 1:
                    for key in keys:
                        self.delete([key])

    def delete_temporaries(self) -> list[Entry]:
        """Delete the half-written files of killed processes; only a local store has such."""
        if self._local is None:
            return []
        with self._explained(""):
            found = [path for path in self._local.rglob(".*.tmp") if _TEMPORARY.search(path.as_posix())]
            entries = [Entry(str(path.relative_to(self._local)), path.stat().st_size) for path in found]
            for path in found:
                path.unlink(missing_ok=True)
            return entries

    def _patiently(self, call: Callable[[], T]) -> T:
        return patience(self._retry_seconds)(call)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """The store's boundary: its errors become one that says what to check."""
        try:
            yield
        except StoreError:
            raise
        except (oe.BaseError, OSError) as error:
            raise StoreError(f"{self.location(key)}: {advice(error)}") from error


def open_store(uri: str, config: StorageConfig, make: bool = True) -> Store:
    """Open the store that holds `uri` as its root. No request is made yet.

    A local directory is made when it isn't there, or with `make=False` refused.

    Raises:
        StoreError: the scheme is unknown or the settings don't fit it.
    """
    if not is_remote(uri):
        path = Path(uri)
        if not make and not path.is_dir():
            raise StoreError(f"{uri}: no such directory")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{uri}: can't make this directory: {error.strerror}") from error
        return Store(uri, LocalStore(path), path)
    if uri.startswith("memory://"):
        return Store(uri, MemoryStore())
    host = endpoint(config) if uri.startswith("s3") else None
    options: dict[str, object] = {
        "client_options": {
            "timeout": timedelta(seconds=config.timeout_seconds),
            "connect_timeout": timedelta(seconds=min(10.0, config.timeout_seconds)),
            "allow_http": bool(host and host.startswith("http://")),
        },
        # Ten tries, obstore's default, may be over within two seconds.
        "retry_config": {
            "retry_timeout": timedelta(seconds=config.retry_seconds),
            "max_retries": 1_000,
            "backoff": {"max_backoff": timedelta(seconds=5)},
        },
    }
    if uri.startswith("s3"):
        region = config.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options["region"] = region or "us-east-1"
        options |= {"endpoint": host} if host else {}
    try:
        store = from_url(uri, **options)  # type: ignore[arg-type]
    except (oe.BaseError, ValueError) as error:
        raise StoreError(f"{uri}: {first_line(error)}") from error
    return Store(uri, store, retry_seconds=config.retry_seconds)


def check_create_only(store: Store) -> None:
    """Race sixteen creates of one object and refuse a store that lets more or fewer than one win.

    Also proves that the run may write, list and delete here.

    Raises:
        StoreError: the store can't be written, or its create-only put can't be relied on.
    """
    folder = f"{CHECK}{secrets.token_hex(8)}"
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


def _write_file(path: Path, data: Data, publish: Callable[[str, str], None], durable: bool = True) -> bool:
    """Write a local file that appears under its name only when it is whole, and survives a power cut.

    `publish` is os.link, which leaves a file that is there (False), or os.replace. Plain system calls on
    plain strings: this runs once for every step.
    """
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{secrets.token_hex(8)}.tmp"
    try:
        file = _open_new(temporary, folder)
        try:
            rest = memoryview(data)
            while rest:  # one call writes 2 GB at most
                rest = rest[os.write(file, rest) :]
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        try:
            publish(temporary, str(path))
        except FileExistsError:
            return False
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    if not durable:
        return True
    with suppress(FileNotFoundError):  # deleted since, with its directory
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return True


def _unlink(root: Path, keys: Iterable[str]) -> None:
    """Delete local files, and the directories that this leaves empty."""
    folders: set[str] = set()
    for key in keys:
        with suppress(FileNotFoundError):
            os.unlink(root / key)
        folders.add(os.path.dirname(key))
    for folder in folders:
        while folder:
            try:
                os.rmdir(root / folder)
            except FileNotFoundError:
                pass
            except OSError:  # not empty
                break
            folder = os.path.dirname(folder)


def _open_new(path: str, folder: str, tries: int = 8) -> int:
    """Open a new file; make its directory if need be, again if a clean-up takes the empty one in between."""
    for left in reversed(range(tries)):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not left:
                raise
            with suppress(FileExistsError, FileNotFoundError):  # another may delete what is empty meanwhile
                os.makedirs(folder, exist_ok=True)
    raise AssertionError("unreachable")
