"""Model weights on this node, wherever they are kept: a directory, an object store, the Hugging Face hub.

What is downloaded goes into `~/.cache/mira_batch/weights` (or `$MIRA_BATCH_WEIGHTS`), once per node however
many workers ask, and is taken only when it is whole. The hub has a cache of its own (`$HF_HOME`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from mira_batch.config.base import is_remote
from mira_batch.config.models.base import hub_name
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Weights
from mira_batch.storage.stores import (
    describe_read_error,
    download,
    explain_disk_error,
    list_files_below,
    read_errors,
    shorten_error,
)

KINDS = (".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken")
"""What belongs to a model: no pickles, no code."""
_WHOLE = 1 << 20
"""Bytes up to which a file is digested whole."""
_BLOCKS, _BLOCK = 64, 1 << 16
"""Of larger ones, so many blocks of so many bytes besides the beginning, evenly spread."""
_STREAMS = 4
"""Files that are downloaded at once."""


def fetch_weights(location: str, storage: StorageConfig) -> Weights:
    """The files of a model, on this node, downloaded where need be.

    Args:
        location: a local directory, a URI of an object store, or `hf://owner/name@revision`.
        storage: how an object store is reached.

    Returns:
        The directory of the files, and what tells this model from others.

    Raises:
        ConfigError: there is no such place, revision or model, or it can't be read; naming it and the fix.
        StoreError: the object store failed beyond retries.
    """
    if hub := hub_name(location):
        return _fetch_from_hub(*hub)
    if is_remote(location):
        path = _fetch_from_store(location, storage)
        return Weights(str(path), digest_weights(path))
    return Weights(location, digest_weights(_check_directory(location)))


def _check_directory(location: str) -> Path:
    path = Path(location)
    if not path.is_dir():
        what = "is a file, not the directory that holds it" if path.exists() else "no such directory"
        raise ConfigError(
            f"weights: {location}: {what}; a local path must be there on every worker's node (or use an "
            "object store, or hf://owner/name@revision)"
        )
    return path


def name_weights(location: str) -> str:
    """Where weights are, under one name: with the commit that a revision of the hub stands for now, and with
    links of a local path resolved.

    Args:
        location: as `fetch_weights`.

    Raises:
        ConfigError: there is no such revision or model.
    """
    if hub := hub_name(location):
        return f"hf://{hub[0]}@{_list_hub(*hub)[0]}"
    return location if is_remote(location) else str(Path(location).resolve())


def describe_weights(location: str, storage: StorageConfig) -> str:
    """Say how large a model's weights are and how they come to a node, without downloading them.

    Args:
        location: as `fetch_weights`.
        storage: how an object store is reached.

    Returns:
        Words for a user: "s3://… (15.2 GB, downloaded once to each node)".

    Raises:
        ConfigError, StoreError: as `fetch_weights`.
    """
    if hub := hub_name(location):
        commit, sizes = _list_hub(*hub)
        pinned = "" if commit == hub[1] else f"; {hub[1]} is commit {commit} now: pin that"
        where = f"downloaded to each node{pinned}"
    elif is_remote(location):
        sizes = {name: info["size"] for name, info in _list_store(location, storage).items()}
        where = "downloaded once to each node"
    else:
        path = _check_directory(location)
        sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in _list_local(path)}
        where = "to be seen by every worker's node"
    weights = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    if not weights:
        raise ConfigError(f"weights: {location}: holds no safetensors, and no other form is read")
    return f"{location} ({weights / 1e9:,.1f} GB, {where})"


def digest_weights(directory: Path) -> str:
    """Digest of a model's files by their names and content.

    Of files over a megabyte the beginning and 64 blocks spread evenly are read, not all of it, so that tens
    of gigabytes need not be read twice at each start. It tells models apart; it doesn't prove that every byte
    is the same.

    Raises:
        ConfigError: the directory holds no model files.
    """
    parts: list[str] = []
    for path in _list_local(directory):
        parts += [path.relative_to(directory).as_posix(), _digest_file(path)]
    if not parts:
        raise ConfigError(f"weights: {directory}: holds no model files ({', '.join(KINDS)})")
    return f"blake2b:{content_hash(*parts)}"


def _list_local(directory: Path) -> list[Path]:
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return [found[name] for name in sorted(_select_model_files(found))]


def _select_model_files(names: Iterable[str]) -> list[str]:
    """Those names that belong to a model. Beside a pipeline's folders the hub's repositories often hold the
    same weights once more in one file, which would double the download."""
    kept = [name for name in names if name.endswith(KINDS)]
    if "model_index.json" in kept:
        kept = [name for name in kept if "/" in name or not name.endswith(".safetensors")]
    return kept


def _digest_file(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_WHOLE))
        for index in range(_BLOCKS if size > _WHOLE else 0):
            file.seek(_WHOLE + index * (size - _WHOLE) // _BLOCKS)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _fetch_from_hub(repository: str, revision: str) -> Weights:
    from huggingface_hub import snapshot_download

    small = [f"*{kind}" for kind in KINDS if kind != ".safetensors"]
    with _explain_hub_errors(repository, revision):
        path = Path(snapshot_download(repository, revision=revision, allow_patterns=small))
        weights = "*/*.safetensors" if (path / "model_index.json").is_file() else "*.safetensors"
        snapshot_download(repository, revision=path.name, allow_patterns=weights)
    return Weights(str(path), f"{repository}@{path.name}")


def _list_hub(repository: str, revision: str) -> tuple[str, dict[str, int]]:
    """The commit that a revision is now, and its files with their sizes."""
    from huggingface_hub import HfApi

    with _explain_hub_errors(repository, revision):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    return info.sha or revision, {name: sizes[name] for name in _select_model_files(sizes)}


@contextmanager
def _explain_hub_errors(repository: str, revision: str) -> Iterator[None]:
    """Turn the hub's refusals into errors that say what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        problem = "is gated: accept its licence on its page, and give the workers a token as HF_TOKEN"
        raise ConfigError(f"weights: hf://{repository}@{revision}: {problem}") from error
    except RevisionNotFoundError as error:
        problem = "has no such revision; its page lists the commits under 'Files'"
        raise ConfigError(f"weights: hf://{repository}@{revision}: {problem}") from error
    except RepositoryNotFoundError as error:
        problem = "no such model; a private one needs a token as HF_TOKEN on the workers"
        raise ConfigError(f"weights: hf://{repository}@{revision}: {problem}") from error
    except Exception as error:  # a boundary: what of its HTTP client's errors comes through, the hub decides
        if isinstance(error, OSError) and (why := explain_disk_error(error)):
            place = f"{error.filename or 'this node'}: {why}; HF_HOME names another directory for downloads"
            raise ConfigError(f"weights: hf://{repository}@{revision}: {place}") from error
        problem = f"the hub can't be reached, and this node's cache does not hold it ({shorten_error(error)})"
        raise ConfigError(f"weights: hf://{repository}@{revision}: {problem}") from error


def _find_cache() -> Path:
    return Path(os.environ.get("MIRA_BATCH_WEIGHTS") or "~/.cache/mira_batch/weights").expanduser()


def _fetch_from_store(location: str, storage: StorageConfig) -> Path:
    """A copy of a prefix in this node's cache, named by what the store holds now."""
    listing = _list_store(location, storage)
    name = content_hash(location, json.dumps(listing, sort_keys=True))
    cache = _find_cache()
    target = cache / name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            if not (target.is_dir() and _is_whole(target, listing)):
                _download_all(location, storage, listing, target)
    except OSError as error:
        why = explain_disk_error(error) or shorten_error(error)
        raise ConfigError(
            f"weights: {cache}: {why}; MIRA_BATCH_WEIGHTS names another directory for downloads"
        ) from error
    return target


def _list_store(location: str, storage: StorageConfig) -> dict[str, dict[str, Any]]:
    """Size and version of each model file below a prefix, by relative path."""
    try:
        found = list_files_below(location, storage)
    except read_errors() as error:
        raise ConfigError(f"weights: {describe_read_error(location, error)}") from error
    listing = {
        name: {"size": found[name].size, "version": found[name].version}
        for name in _select_model_files(found)
    }
    if not listing:
        raise ConfigError(f"weights: {location}: holds no model files ({', '.join(KINDS)})")
    return listing


def _download_all(
    location: str, storage: StorageConfig, listing: dict[str, dict[str, Any]], target: Path
) -> None:
    """Download beside the target, check, and only then give it its name. What is there of an earlier try that
    broke off is kept: the name stands for these very versions of the files."""
    partial = target.with_suffix(".partial")
    shutil.rmtree(target, ignore_errors=True)

    def fetch(name: str) -> None:
        file = partial / name
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(f"{location}/{name}", storage, str(file), listing[name]["size"])
        except read_errors() as error:
            raise ConfigError(f"weights: {describe_read_error(f'{location}/{name}', error)}") from error

    with ThreadPoolExecutor(_STREAMS, thread_name_prefix="weights") as pool:
        list(pool.map(fetch, listing))
    if not _is_whole(partial, listing) or _list_store(location, storage) != listing:
        shutil.rmtree(partial)
        raise ConfigError(f"weights: {location}: was changed while it was downloaded; run again")
    partial.rename(target)


def _is_whole(directory: Path, listing: dict[str, dict[str, Any]]) -> bool:
    sizes = {path.relative_to(directory).as_posix(): path.stat().st_size for path in _list_local(directory)}
    return sizes == {name: info["size"] for name, info in listing.items()}
