"""How a stage is carried out: unit by unit, each written down when it is whole, so that a killed call goes
on.

<output>/construct.json                    config, settings and version; another one's are refused
         <stage>/<prefix>-<unit>-<n>.parquet   what a unit made, files of bounded size
         <stage>/units/<unit>.json             its receipt: the unit is whole; names its files and counts
         <stage>/stage.json                    the marker: the stage is done; what it read, files, counts

All files are created once and never changed. A unit that was cut short is made again: what it had written
must come out the same, byte by byte, or its source has changed and the call is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.construct import ConstructConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import content_hash
from mira_batch.core.version import __version__, name_versions
from mira_batch.storage.run.layout import find_changed_settings, read_document
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores import Store, shorten_error

ABOUT = "construct.json"
Told = Callable[[str, int, int], None]
"""Told the stage, how many of its units are done, and of how many."""
Counts = Counter[str]


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a stage that is done as a whole."""

    name: str
    """Part of its files' names; units are ordered by it."""
    read: Any
    """What it is made from."""


class PartWriter:
    """Writes the rows of a unit as files of bounded size, by prefix."""

    def __init__(self, store: Store, stage: str, unit: str, fields: pa.Schema, rows: int, size: int) -> None:
        """
        Args:
            store: the output.
            stage, unit: in the files' names.
            fields: of the rows.
            rows: most rows of a file.
            size: bytes of images at which a file is closed.
        """
        self._store, self._fields = store, fields
        self._name = f"{stage}/{{prefix}}-{unit}-{{number:03d}}.parquet"
        self._rows, self._size = rows, size
        self._held: dict[str, list[Mapping[str, Any]]] = {}
        self._bytes: Counts = Counter()
        self._numbers: Counts = Counter()
        self.files: list[str] = []
        self.digests: list[str] = []
        """Of the files' bytes (BLAKE2b, 16 bytes)."""

    def add(self, prefix: str, row: Mapping[str, Any], size: int = 0) -> None:
        """Write a row.

        Args:
            prefix: of its file's name.
            row: of the schema.
            size: bytes of its images.
        """
        held = self._held.setdefault(prefix, [])
        held.append(row)
        self._bytes[prefix] += size
        if len(held) >= self._rows or self._bytes[prefix] >= self._size:
            self._flush(prefix)

    def close(self) -> None:
        """Write what is held."""
        for prefix in sorted(self._held):
            self._flush(prefix)

    def _flush(self, prefix: str) -> None:
        if not (rows := self._held.pop(prefix, [])):
            return
        key = self._name.format(prefix=prefix, number=self._numbers[prefix])
        data = results_file(rows, self._fields)
        create_same(self._store, key, data)
        self.digests.append(content_hash(bytes(data)))
        self._numbers[prefix] += 1
        self._bytes[prefix] = 0
        self.files.append(key)


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called, and how it is carried out."""

    name: str
    fields: pa.Schema
    """Of its rows."""
    work: Callable[[Unit, PartWriter], Counts]
    """Makes a unit, and counts what became of what it read."""
    take_done: Callable[[Sequence[str]], None] = field(default=lambda files: None)
    """Told the files of each unit that an earlier call made, in order."""
    rows: int = 10_000
    size: int = 128_000_000


def create_same(store: Store, key: str, data: bytes | memoryview) -> None:
    """Create an object that may be there, but only with the same bytes.

    Args:
        store: the output.
        key: of the object.
        data: its bytes.

    Raises:
        RunConflict: it is there with others.
    """
    if not store.create(key, data) and store.get(key) != bytes(data):
        raise RunConflict(
            f"{store.locate(key)}: an earlier call that was cut short made another file of it; its source, "
            "or this package, has changed since. Choose another output.uri"
        )


def open_output(store: Store, config: ConstructConfig) -> dict[str, Any]:
    """Begin an output, or go on with one of the same settings; its `construct.json`. While no stage has made
    anything, nothing rests on what an earlier call noted: a typo can be mended.

    Args:
        store: the output.
        config: the job's.

    Raises:
        RunConflict: it is another construct's.
        StoreError: it is damaged.
    """
    about = {
        "mira_batch": __version__,
        "versions": name_versions(),
        "settings": config.settings(),
        "config": config.model_dump(mode="json"),
    }
    if not store.create(ABOUT, json.dumps(about, indent=2).encode()):
        standing = read_document(store, ABOUT, "settings", "config") or about
        now = json.loads(json.dumps(about["settings"]))
        if changed := find_changed_settings({"": standing["settings"]}, {"": now}):
            if not store.list_folders():
                store.delete([ABOUT])
                return open_output(store, config)
            lines = "\n".join(f"  {line.removeprefix('.')}" for line in changed)
            raise RunConflict(
                f"{store.uri}: was begun with other settings:\n{lines}\nchoose another output.uri, or "
                "restore the settings"
            )
        return standing
    return about


def read_marker(store: Store, stage: str) -> dict[str, Any] | None:
    """What a stage that is done read, made and counted; None where it is not done.

    Args:
        store: the output.
        stage: its name.

    Raises:
        StoreError: its marker is damaged.
    """
    return read_document(store, f"{stage}/stage.json", "stage", "read", "files", "digest", "counts")


def read_part(store: Store, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file that a stage made.

    Args:
        store: the output.
        key: of the file, as a marker or receipt names it.
        columns: which; None reads all.

    Raises:
        StoreError: it is gone or damaged.
    """
    names = None if columns is None else list(columns)
    try:
        found = store.read(key, lambda data: pq.ParquetFile(pa.BufferReader(data)).read(columns=names))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{store.locate(key)}: is damaged: {shorten_error(error)}") from error
    if found is None:
        raise StoreError(f"{store.locate(key)}: is gone; choose another output.uri to make it anew")
    return found


def carry_out(
    store: Store,
    stage: Stage,
    units: Iterable[Unit],
    read: Any,
    look: Callable[[], None],
    told: Told,
) -> dict[str, Any]:
    """Carry a stage out, going on behind the units that are done; its marker.

    Args:
        store: the output.
        stage: what is to be done.
        units: its parts.
        read: what it reads, for the marker.
        look: called between units; what it raises ends the stage in order.
        told: how far it is.

    Raises:
        RunConflict: what a unit reads has changed since it was begun.
        StoreError: the store can't be used.
    """
    if (done := read_marker(store, stage.name)) is not None:
        return done
    parts = sorted(units, key=lambda unit: unit.name)
    counts: Counts = Counter()
    files: list[str] = []
    digests: list[str] = []
    for number, unit in enumerate(parts):
        look()
        told(stage.name, number, len(parts))
        key = f"{stage.name}/units/{unit.name}.json"
        receipt = read_document(store, key, "files", "digests", "counts")
        if receipt is None:
            writer = PartWriter(store, stage.name, unit.name, stage.fields, stage.rows, stage.size)
            made = stage.work(unit, writer)
            writer.close()
            receipt = {
                "files": writer.files,
                "digests": writer.digests,
                "counts": dict(sorted(made.items())),
            }
            create_same(store, key, json.dumps(receipt, indent=2).encode())
        else:
            stage.take_done(receipt["files"])
        counts.update(receipt["counts"])
        files += receipt["files"]
        digests += receipt["digests"]
    told(stage.name, len(parts), len(parts))
    marker = {
        "stage": stage.name,
        "read": read,
        "files": files,
        "digest": content_hash(*digests),
        "counts": dict(sorted(counts.items())),
    }
    create_same(store, f"{stage.name}/stage.json", json.dumps(marker, indent=2).encode())
    return marker
