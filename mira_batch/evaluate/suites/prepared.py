"""A prepared benchmark: what `prepare` leaves in its folder, and how it is found again from a run.

<folder>/benchmark.json   which benchmark, how many items, and the digest of the next two; written last
         manifest.jsonl   the items, a row each
         labels.jsonl     what people said of them, in a benchmark of judges
         images/          the images of both, called after their bytes
         judge.yaml       a config for `evaluate`, where a judge is needed
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.storage.run.layout import RUN, parse_document, read_run
from mira_batch.storage.stores import Store, open_store

ABOUT, MANIFEST, LABELS, JUDGE, IMAGES = (
    "benchmark.json",
    "manifest.jsonl",
    "labels.jsonl",
    "judge.yaml",
    "images",
)
FORM = 1
"""Raised when a folder of an earlier release can't be read any more."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is in such a folder."""

    folder: str
    about: Mapping[str, Any]
    """Of `benchmark.json`."""
    items: Mapping[str, Mapping[str, Any]]
    """The manifest's rows by record_id, in its order."""
    labels: Sequence[Mapping[str, Any]]
    store: Store

    def read_image(self, name: str) -> bytes:
        """The bytes of an image that a row names.

        Raises:
            BenchmarkError: it is gone.
        """
        if (data := self.store.get(name)) is None:
            raise BenchmarkError(f"{self.folder}/{name}: is gone; prepare the benchmark anew")
        return data


def dump_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def digest_files(manifest: bytes, labels: bytes) -> str:
    """What tells that a prepared benchmark is as it was."""
    return content_hash(manifest, labels)


def read_about(store: Store) -> dict[str, Any] | None:
    """`benchmark.json` of a folder; None where there is none.

    Raises:
        StoreError: it is damaged, or can't be read.
    """
    where = store.locate(ABOUT)
    return store.read(ABOUT, lambda data: parse_document(data, where, "benchmark", "form", "items", "digest"))


def read_prepared(folder: str, benchmark: str, storage: StorageConfig) -> Prepared:
    """A prepared benchmark.

    Args:
        folder: that `prepare` wrote.
        benchmark: its name.
        storage: how it is reached.

    Raises:
        BenchmarkError: it is none, of another benchmark, or was changed since.
        StoreError: it can't be read.
    """
    try:
        store = open_store(folder, storage, make=False)
        about = read_about(store)
    except StoreError as error:
        raise BenchmarkError(
            f"{error}; give the folder that `benchmark prepare` wrote as --prepared"
        ) from error
    if about is None:
        raise BenchmarkError(
            f"{folder}: was not written by `benchmark prepare`, so which items the benchmark has is unknown; "
            "give that folder as --prepared"
        )
    if about["benchmark"] != benchmark:
        raise BenchmarkError(f"{folder}: is of {about['benchmark']}, not of {benchmark}")
    if about["form"] != FORM:
        raise BenchmarkError(f"{folder}: is of another release of this package; prepare the benchmark anew")
    manifest, labels = store.get(MANIFEST) or b"", store.get(LABELS) or b""
    if digest_files(manifest, labels) != about["digest"]:
        raise BenchmarkError(
            f"{folder}: {MANIFEST} or {LABELS} was changed since it was prepared, so that items may lack; "
            "prepare it anew"
        )
    rows = [json.loads(line) for line in manifest.splitlines()]
    said = [json.loads(line) for line in labels.splitlines()]
    return Prepared(folder, about, {row["record_id"]: row for row in rows}, said, store)


def find_prepared(
    places: Iterable[str], benchmark: str, given: str | None, storage: StorageConfig
) -> Prepared:
    """The prepared benchmark that runs are of.

    Args:
        places: directories of edit runs, or manifests of pairs.
        benchmark: its name.
        given: the folder, where the user names it.
        storage: how all of it is reached.

    Raises:
        BenchmarkError: they are of none, or of several.
        RunConflict, StoreError: a run can't be read.
    """
    if given is not None:
        return read_prepared(given, benchmark, storage)
    folders = sorted({find_manifest_of(place, storage).rpartition("/")[0] for place in places})
    if len(folders) != 1:
        raise BenchmarkError(
            f"the results are of {len(folders)} manifests; name the benchmark's with --prepared"
        )
    return read_prepared(folders[0], benchmark, storage)


def find_manifest_of(place: str, storage: StorageConfig) -> str:
    """The manifest of a run; a manifest itself stays as it is.

    Args:
        place: either of them.
        storage: how it is reached.

    Raises:
        StoreError: the run can't be read.
    """
    if place.endswith(".jsonl"):
        return place
    store = open_store(place, storage, make=False)
    return str(read_run(store)["config"]["input"]["manifest"]) if store.exists(RUN) else f"{place}/"
