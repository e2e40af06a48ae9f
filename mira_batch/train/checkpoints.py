"""Checkpoints of a training in its store: `checkpoints/<step>/`, whole once `whole.json` is there.

A checkpoint is a folder of files. Each is put in parts, create-only, and the marker last, with the digests of
all; so a reader finds a checkpoint whole or not at all. Where a killed process has left parts of one, those
of the next try are put beside them, under a name of its own.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.core.errors import RunConflict
from mira_batch.storage.stores import Store
from mira_batch.train.workers import gather, is_first

FOLDER = "checkpoints"
_MARKER = "whole.json"
_PART = 256_000_000
"""Bytes of a part: one request, and what is held in memory."""
_WORDS = (".json", ".safetensors", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint."""

    step: int
    """Steps of the optimiser that were made."""
    files: dict[str, dict[str, Any]]
    """By name: the keys of its parts, and its digest."""


def put_files(store: Store, step: int, folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Put files of a checkpoint, which is not whole by that.

    Args:
        store: of the training.
        step: of the checkpoint.
        folder: where the files are on this machine.
        names: which of them.

    Returns:
        What the marker says of each.
    """
    found = {}
    for name in names:
        digest, parts = hashlib.blake2b(digest_size=16), []
        own = secrets.token_hex(4)
        with open(folder / name, "rb") as file:
            while part := file.read(_PART):
                digest.update(part)
                key = f"{_name_folder(step)}/{name}.{own}.{len(parts)}"
                if not store.create(key, part):
                    raise RunConflict(
                        f"{store.locate(key)}: is there already; is another training at work here?"
                    )
                parts.append(key)
        found[name] = {"parts": parts, "digest": digest.hexdigest()}
    return found


def mark_whole(store: Store, step: int, files: dict[str, dict[str, Any]]) -> None:
    """Make a checkpoint whole; one that is whole already, of an earlier try, stays as it is.

    Args:
        store: of the training.
        step: of the checkpoint.
        files: what `put_files` said, of all workers.
    """
    store.create(f"{_name_folder(step)}/{_MARKER}", json.dumps({"step": step, "files": files}).encode())


def list_whole(store: Store) -> list[int]:
    """Steps of the whole checkpoints, the newest first."""
    keys = [entry.key for entry in store.list(FOLDER)]
    return sorted((int(key.split("/")[1]) for key in keys if key.endswith(f"/{_MARKER}")), reverse=True)


def fetch_newest(store: Store, folder: Path, note: Callable[[str], None]) -> Checkpoint | None:
    """Bring the newest whole checkpoint here; one that is damaged is passed over, and said.

    Args:
        store: of the training.
        folder: an empty one, for its files.
        note: told what was passed over.
    """
    for step in list_whole(store):
        if found := fetch(store, step, folder):
            return found
        note(f"checkpoint {step} is damaged; an older one is taken")
    return None


def fetch_for_all(store: Store, folder: Path, note: Callable[[str], None]) -> int:
    """Bring the newest checkpoint to each worker, the same one to all; the step it was made after, else 0.

    Args:
        store: of the training.
        folder: a new one, for its files.
        note: told what was passed over.

    Raises:
        RunConflict: it is gone before all have it.
    """
    folder.mkdir(parents=True)
    found = fetch_newest(store, folder, note) if is_first() else None
    (step,) = {step for step in gather(found.step if found else None) if step is not None} or {0}
    if step and not is_first() and fetch(store, step, folder) is None:
        raise RunConflict(
            f"{store.uri}: the checkpoint of step {step} is gone; is another training at work here?"
        )
    return step


def fetch(store: Store, step: int, folder: Path) -> Checkpoint | None:
    """Bring one checkpoint here; None where it is damaged.

    Args:
        store: of the training.
        step: of the checkpoint.
        folder: for its files.
    """
    marker = store.get(f"{_name_folder(step)}/{_MARKER}")
    try:
        files = json.loads(marker or b"")["files"]
    except (ValueError, KeyError):
        return None
    for name, told in files.items():
        if Path(name).name != name or not name.endswith(_WORDS):
            return None
        digest = hashlib.blake2b(digest_size=16)
        with open(folder / name, "wb") as file:
            for key in told["parts"]:
                part = store.get(key)
                if part is None:
                    return None
                digest.update(part)
                file.write(part)
        if digest.hexdigest() != told["digest"]:
            return None
    return Checkpoint(step, files)


def drop_old(store: Store, keep: int) -> None:
    """Delete all but the newest whole checkpoints, markers first, and what killed tries left before those.

    Args:
        store: of the training.
        keep: how many stay.
    """
    whole = list_whole(store)
    if len(whole) <= keep:
        return
    oldest = whole[keep - 1]
    old = [entry.key for entry in store.list(FOLDER) if int(entry.key.split("/")[1]) < oldest]
    store.delete([key for key in old if key.endswith(f"/{_MARKER}")])
    store.delete([key for key in old if not key.endswith(f"/{_MARKER}")])


def _name_folder(step: int) -> str:
    return f"{FOLDER}/{step:08d}"
