"""What a destination has, and what it is still to get: plans, numbered, create-only, never changed.

    .mira-batch/export.json             form and naming, of all exports into this destination
    .mira-batch/00001/plan.parquet      rows (schema `EXPORTED`); a row group is a part, made by one task
    .mira-batch/00001/parts/00042.json  of a folder: this part is whole. Of other forms its one file says so
    .mira-batch/00001/done.json         the plan is carried out

A plan that was begun is carried out before anything else is looked at: so what a killed call has left is
finished as it was meant, and nothing is there twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.export import ExportConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.export.names import OWN
from mira_batch.storage import schema
from mira_batch.storage.manifest import EXPORT
from mira_batch.storage.run.layout import RUN, read_document
from mira_batch.storage.stores import Store, open_arrow_filesystem, read_errors, shorten_error

_OUTPUT = b"mira_batch.output"
_PLAN = re.compile(rf"{re.escape(OWN)}/(\d{{5,}})/plan\.parquet")
_SHARDS = {"webdataset": "edited-{}.tar", "hf": "data/train-{}.parquet", "csv": "records-{}.csv"}
FORMATS = ("form", "names", "root", "format", "quality", "background", "signed")
"""Settings that all exports into one destination share."""
_PLAN_ROWS = 500_000
"""Most rows of a plan, which is put as one object."""
_PART_ROWS = {"folder": 256, "csv": 100_000}


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of a destination."""

    number: int
    output: str
    """The directory of all runs that its rows are from."""
    sizes: tuple[int, ...]
    """Rows of each part."""
    made: frozenset[int]
    """The parts that are whole."""
    done: bool
    """All of it is."""

    @property
    def left(self) -> list[int]:
        """The parts that are still to be made."""
        return [] if self.done else [part for part in range(len(self.sizes)) if part not in self.made]


def plan_key(number: int) -> str:
    """The key of a plan's rows."""
    return f"{OWN}/{number:05d}/plan.parquet"


def shard_key(form: str, number: int, part: int) -> str:
    """The key of the file that a part of a plan becomes; of a folder, of the marker that it is whole.

    Args:
        form: what is exported.
        number: of the plan.
        part: of that.
    """
    if form == "folder":
        return f"{OWN}/{number:05d}/parts/{part:05d}.json"
    return _SHARDS[form].format(f"{number:05d}-{part:05d}")


def check_destination(config: ExportConfig, store: Store) -> None:
    """Refuse a destination that is something else.

    Args:
        config: the export's.
        store: the destination.

    Raises:
        RunConflict: it is a run's directory, or has an export of another form.
        StoreError: the store can't be used.
    """
    if store.exists(RUN):
        raise RunConflict(f"{store.uri}: is the directory of a run; export into one of its own")
    about = read_document(store, EXPORT, *FORMATS)
    if about is None:
        return
    now = describe(config)
    changed = [f"{name}: was {about[name]}, now {now[name]}" for name in FORMATS if about[name] != now[name]]
    if changed:
        raise RunConflict(
            f"{store.uri}: holds an export that was made otherwise ({'; '.join(changed)}); choose another "
            "destination, or the same options"
        )


def mark_destination(config: ExportConfig, store: Store) -> None:
    """Note what a destination is, if that is not noted yet: by it its files are told from a manifest's.

    Args:
        config: the export's.
        store: the destination.

    Raises:
        StoreError: the store can't be used.
    """
    store.create(EXPORT, json.dumps(describe(config), indent=2).encode())


def describe(config: ExportConfig) -> dict[str, Any]:
    """What all exports into one destination share, as JSON data."""
    return config.model_dump(mode="json", include=set(FORMATS)) | {"signed": config.signing is not None}


def read_plans(form: str, store: Store, keys: Collection[str], storage: StorageConfig) -> list[Plan]:
    """The plans of a destination.

    Args:
        form: what is exported.
        store: the destination.
        keys: all that it holds.
        storage: how it is reached.

    Raises:
        StoreError: one is damaged.
    """
    found = []
    for number in sorted(int(match[1]) for key in keys if (match := _PLAN.fullmatch(key))):
        with _open(store, number, storage) as parquet:
            about = parquet.metadata
            sizes = tuple(about.row_group(group).num_rows for group in range(about.num_row_groups))
            output = (about.metadata or {}).get(_OUTPUT, b"").decode()
        made = frozenset(part for part in range(len(sizes)) if shard_key(form, number, part) in keys)
        done = f"{OWN}/{number:05d}/done.json" in keys
        found.append(Plan(number, output, sizes, made, done))
    return found


def read_part(store: Store, number: int, part: int, storage: StorageConfig) -> pa.Table:
    """The rows of a part (schema `EXPORTED`).

    Args:
        store: the destination.
        number: of the plan.
        part: of it.
        storage: how the store is reached.

    Raises:
        StoreError: the plan is damaged, or can't be read.
    """
    with _open(store, number, storage) as parquet:
        try:
            return parquet.read_row_group(part).cast(schema.EXPORTED)
        except (pa.ArrowException, *read_errors()) as error:
            raise _damaged(store, number, error) from error


def _open(store: Store, number: int, storage: StorageConfig) -> pq.ParquetFile:
    fs, path = open_arrow_filesystem(store.locate(plan_key(number)), storage)
    try:
        return pq.ParquetFile(path, filesystem=fs, page_checksum_verification=True)
    except (pa.ArrowException, *read_errors()) as error:
        raise _damaged(store, number, error) from error


def _damaged(store: Store, number: int, error: Exception) -> StoreError:
    return StoreError(
        f"{store.locate(plan_key(number))}: can't be read ({shorten_error(error)}); choose another "
        "destination"
    )


def create_plans(
    config: ExportConfig, store: Store, output: str, tables: Iterable[pa.Table], last: int
) -> Iterator[Plan]:
    """Write down what is to be made.

    Args:
        config: the export's.
        store: the destination.
        output: the directory of all runs that the rows are from.
        tables: the rows (schema `EXPORTED`).
        last: number of the newest plan that they were compared with.

    Raises:
        RunConflict: another export has begun here meanwhile.
        StoreError: the store can't be used.
    """
    mark_destination(config, store)
    check_destination(config, store)
    rows = _PART_ROWS.get(config.form, config.shard_records)
    for number, table in enumerate(_cut(tables, max(1, _PLAN_ROWS // rows) * rows), start=last + 1):
        sink = pa.BufferOutputStream()
        named = table.replace_schema_metadata({_OUTPUT: output.encode()})
        pq.write_table(named, sink, row_group_size=rows, compression="zstd", write_page_checksum=True)
        if not store.create(plan_key(number), memoryview(sink.getvalue()).cast("B")):
            raise RunConflict(f"{store.uri}: another export has begun here meanwhile; call again")
        sizes = [min(rows, table.num_rows - start) for start in range(0, table.num_rows, rows)]
        yield Plan(number, output, tuple(sizes), frozenset(), False)


def _cut(tables: Iterable[pa.Table], most: int) -> Iterator[pa.Table]:
    """The same rows in tables of `most` each, but for the last."""
    held = schema.EXPORTED.empty_table()
    for table in tables:
        held = pa.concat_tables([held, table])
        while held.num_rows >= most:
            yield held.slice(0, most)
            held = held.slice(most)
    if held.num_rows:
        yield held


def finish_plan(store: Store, number: int) -> None:
    """Note that a plan is carried out.

    Raises:
        StoreError: the store can't be used.
    """
    store.create(f"{OWN}/{number:05d}/done.json", b"{}")
