"""Makes a benchmark's data set ready: images as files, a manifest that jobs take as it is, a config of the
judge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mira_batch.config.shared import Columns, ManifestConfig, StorageConfig
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.suites.prepared import (
    ABOUT,
    FORM,
    IMAGES,
    JUDGE,
    LABELS,
    MANIFEST,
    digest_files,
    dump_rows,
    read_about,
)
from mira_batch.evaluate.suites.suite import Request, Suite
from mira_batch.storage.manifest import Reject, list_files, read_split, split_manifest
from mira_batch.storage.published import Problems, Reader
from mira_batch.storage.stores import Store, open_store

_OURS = frozenset({ABOUT, MANIFEST, LABELS, JUDGE})


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was prepared."""

    benchmark: str
    folder: str
    items: int
    counts: Mapping[str, int]
    """Of what, by name: languages, turns, pairs."""
    left_out: Sequence[str]
    """What an option leaves out, in words."""
    already: bool
    """It was there before, just so."""


@dataclass(slots=True)
class _Found:
    """What a data set holds."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the manifest."""
    labels: list[Mapping[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=set)


def prepare(suite: Suite, request: Request, folder: str, storage: StorageConfig) -> Preparation:
    """Read a benchmark's data set, check it, and write it as a folder that jobs can work on.

    Args:
        suite: the benchmark.
        request: its data set, and what of it.
        folder: a local one, new or empty; or one that a killed call has begun.
        storage: how runs are reached.

    Raises:
        BenchmarkError: the data set is not whole, or something else is in the folder.
        StoreError: the folder can't be written.
    """
    store = open_store(folder, storage)
    about = read_about(store)
    if about is None:
        _refuse_foreign(store)
    found = _read(suite, request, store if about is None else None)
    document = {
        "benchmark": suite.name,
        "form": FORM,
        "items": len(found.rows),
        "digest": digest_files(dump_rows(found.rows), dump_rows(found.labels)),
        "counts": suite.count(found.rows, found.labels),
    }
    if about is None:
        _write(store, suite, found, document)
    elif about != document:
        raise BenchmarkError(
            f"{folder}: holds {about['items']:,} items of {about['benchmark']}, prepared otherwise; choose a "
            "new folder"
        )
    elif not found.images <= {entry.key for entry in store.list(IMAGES)}:
        _read(suite, request, store)  # some were deleted since
    counts = document["counts"]
    return Preparation(suite.name, folder, len(found.rows), counts, found.left_out, about is not None)


def _refuse_foreign(store: Store) -> None:
    for entry in store.list(""):
        if entry.key not in _OURS and not entry.key.startswith(f"{IMAGES}/"):
            raise BenchmarkError(
                f"{store.uri}: holds {entry.key}, which is none of a benchmark; choose a new folder"
            )


def _read(suite: Suite, request: Request, images: Store | None) -> _Found:
    """Read a whole data set, and write its images, which are too many for memory.

    Args:
        suite: the benchmark.
        request: its data set, and what of it.
        images: where they go; None: nowhere.

    Raises:
        BenchmarkError: it is not whole.
    """
    problems, found = Problems(), _Found()
    for item in suite.read(request, Reader(problems), found.labels, found.left_out):
        row: dict[str, Any] = {"record_id": item.record_id}
        for column, picture in item.images.items():
            row[column] = key = f"{IMAGES}/{picture.name}"
            if images is not None and key not in found.images:
                images.put(key, picture.data)
            found.images.add(key)
        found.rows.append({**row, "instruction": item.instruction, **item.about})
    problems.refuse()
    if not found.rows:
        words = f" ({'; '.join(found.left_out)})" if found.left_out else ""
        raise BenchmarkError(f"{request.data}: has no item{words}")
    return found


def _write(store: Store, suite: Suite, found: _Found, document: Mapping[str, Any]) -> None:
    """All but the images, the mark that it is whole last."""
    if suite.judge:
        store.put(JUDGE, suite.judge.encode())
    if found.labels:
        store.put(LABELS, dump_rows(found.labels))
    store.put(MANIFEST, dump_rows(found.rows))
    _check_manifest(store)
    store.put(ABOUT, (json.dumps(document, indent=2) + "\n").encode())


def _check_manifest(store: Store) -> None:
    """Read the manifest as a job will: each row must do.

    Raises:
        BenchmarkError: one doesn't; it says which, and why.
    """
    source = ManifestConfig(manifest=store.locate(MANIFEST), columns=Columns())
    storage = StorageConfig()
    for split in split_manifest(list_files(source, storage), source, storage):
        for row in read_split(split, source, storage):
            if isinstance(row, Reject):
                raise BenchmarkError(f"{row.record_id}: {row.field} {row.reason}; correct the data set")


def describe_data(path: str) -> Path:
    """The place of a data set on this machine.

    Raises:
        BenchmarkError: it is elsewhere.
    """
    if "://" in path:
        raise BenchmarkError(f"{path}: is no folder of this machine; download the data set first")
    return Path(path)
