"""Writes and deletes the files of a local store, so that a commit survives a power cut.

A file is written under a temporary name, synced, and then linked or renamed to its own.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_STEM = 255 - len(f"..{'0' * 16}.tmp")
"""Bytes of its name that a temporary file has in its own, since file systems take no more than 255."""
_TRIES = 8
"""Where a clean-up takes what is being written."""
_TEMPORARY = re.compile(r"(^|/)\.[^/]+\.[0-9a-f]{16}\.tmp$")


def write_file(
    path: str, data: bytes | memoryview, publish: Callable[[str, str], None], durable: bool = True
) -> bool:
    """Write a file that appears under its name only when it is whole.

    Plain system calls on plain strings: this runs once for every step.

    Args:
        path: the file; its directory is made where it is missing.
        data: all its bytes.
        publish: `os.link`, which leaves a file that is there, or `os.replace`.
        durable: also survive a power cut: file and directory are synced.

    Returns:
        Whether the file was written; False: one is there already, and `publish` is `os.link`.

    Raises:
        OSError: the disk is full, read-only or the like.
    """
    folder, name = os.path.split(path)
    stem = name if len(name) <= _STEM // 4 else os.fsencode(name)[:_STEM].decode(errors="ignore")
    for left in reversed(range(_TRIES)):
        temporary = f"{folder}/.{stem}.{secrets.token_hex(8)}.tmp"
        try:
            _write_whole(temporary, folder, data, durable)
            try:
                publish(temporary, path)
            except FileExistsError:
                return False
            break
        except FileNotFoundError:
            # Another process may have taken it for what a killed one has left. Of a folder that is gone
            # nobody wants a file.
            if not left or not os.path.isdir(folder):
                raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    if durable:
        _sync_folder(folder)
    return True


def _write_whole(path: str, folder: str, data: bytes | memoryview, durable: bool) -> None:
    file = _open_new(path, folder)
    try:
        rest = memoryview(data)
        while rest:  # one call writes 2 GB at most
            rest = rest[os.write(file, rest) :]
        if durable:
            os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: str) -> None:
    with suppress(FileNotFoundError):  # deleted since, with its files
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _open_new(path: str, folder: str) -> int:
    """Open a new file; make its directory if need be, again if a clean-up takes the empty one in between."""
    for left in reversed(range(_TRIES)):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not left:
                raise
            with suppress(FileExistsError, FileNotFoundError):  # another may delete what is empty meanwhile
                os.makedirs(folder, exist_ok=True)
    raise AssertionError("unreachable")


def delete_files(root: str, keys: Iterable[str]) -> None:
    """Delete the files `keys` below `root`, and the directories that this leaves empty.

    Files that don't exist count as deleted.

    Raises:
        OSError: one can't be deleted.
    """
    folders: set[str] = set()
    for key in keys:
        with suppress(FileNotFoundError):
            os.unlink(f"{root}/{key}")
        folders.add(os.path.dirname(key))
    while folders := folders - {""}:  # and then those that they were in
        gone = set[str]()
        for folder in folders:
            try:
                os.rmdir(f"{root}/{folder}")
            except FileNotFoundError:
                pass
            except OSError:  # not empty
                continue
            gone.add(os.path.dirname(folder))
        folders = gone


def is_temporary(path: str) -> bool:
    """Whether a path is of a file that `write_file` writes, or that a killed process left half-written."""
    return _TEMPORARY.search(path) is not None


def delete_temporaries(root: str, prefix: str = "", folders: bool = True) -> dict[str, int]:
    """Delete the half-written files below a folder, and the directories in it that hold no file.

    Args:
        root: of the store.
        prefix: of the folder, relative to `root`; it goes, too, if it holds nothing. Empty: `root`.
        folders: False: directories stay, since they may be somebody else's.

    Returns:
        Their sizes in bytes, by path relative to `root`.

    Raises:
        OSError: one can't be deleted.
    """
    folder = Path(root, prefix)
    found = [path for path in folder.rglob(".*.tmp") if is_temporary(path.as_posix())]
    sizes: dict[str, int] = {}
    for file in found:
        with suppress(FileNotFoundError):  # a heartbeat is written beside this
            sizes[str(file.relative_to(root))] = file.stat().st_size
            file.unlink()
    for path, _, _ in os.walk(folder, topdown=False) if folders else ():
        if path != root:
            with suppress(OSError):  # it isn't empty, or is gone
                os.rmdir(path)
    return sizes
