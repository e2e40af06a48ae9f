"""Makes a benchmark's data set ready: images as files, a manifest that jobs take as it is, a config of the
judge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.config.shared import Columns, ManifestConfig, StorageConfig
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.suites.items import Item, Problems, Reader
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
    problems = Problems()
    labels: list[Mapping[str, Any]] = []
    left_out: list[str] = []
    rows = list(_write_images(suite.read(request, Reader(problems), labels, left_out), store))
    problems.refuse()
    if not rows:
        raise BenchmarkError(
            f"{request.data}: has no item" + (f" ({'; '.join(left_out)})" if left_out else "")
        )
    manifest, said = dump_rows(rows), dump_rows(labels)
    document = {
        "benchmark": suite.name,
        "form": FORM,
        "items": len(rows),
        "digest": digest_files(manifest, said),
        "counts": suite.count(rows, labels),
    }
    if about is None:
        _write(store, suite, manifest, said, document)
    elif about != document:
        raise BenchmarkError(
            f"{folder}: holds {about['items']:,} items of {about['benchmark']}, prepared otherwise; choose a "
            "new folder"
        )
    return Preparation(suite.name, folder, len(rows), document["counts"], left_out, about is not None)


def _refuse_foreign(store: Store) -> None:
    for entry in store.list(""):
        if entry.key not in _OURS and not entry.key.startswith(f"{IMAGES}/"):
            raise BenchmarkError(
                f"{store.uri}: holds {entry.key}, which is none of a benchmark; choose a new folder"
            )


def _write_images(items: Iterator[Item], store: Store) -> Iterator[dict[str, Any]]:
    written: set[str] = set()
    for item in items:
        row: dict[str, Any] = {"record_id": item.record_id}
        for column, picture in item.images.items():
            row[column] = f"{IMAGES}/{picture.name}"
            if picture.name not in written:
                store.put(row[column], picture.data)
                written.add(picture.name)
        yield {**row, "instruction": item.instruction, **item.about}


def _write(store: Store, suite: Suite, manifest: bytes, labels: bytes, document: Mapping[str, Any]) -> None:
    """All but the images, the mark that it is whole last."""
    if suite.judge:
        store.put(JUDGE, suite.judge.encode())
    if labels:
        store.put(LABELS, labels)
    store.put(MANIFEST, manifest)
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
