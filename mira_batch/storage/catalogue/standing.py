"""The rows that stand for the records of one run, or of all runs under an output, as a reader finds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.fold import merge_pending
from mira_batch.storage.catalogue.pending import find_pending
from mira_batch.storage.catalogue.place import Catalogue, open_with_runs
from mira_batch.storage.run.history import read_columns, shard_in
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.stores import Store, open_store

_OF_RUN = (
    "record_id", "work_id", "status", "stop_reason", "error_kind", "source_digest", "result_digest",
    "num_steps", "cost", "models",
)  # fmt: skip


@dataclass(frozen=True)
class StandingRows:
    """What stands for each record. `tables` is to be read once."""

    output: str
    """The directory of all runs."""
    runs: Mapping[str, Store]
    """The directories of those that may be needed, by name."""
    tables: Iterator[pa.Table]
    """Rows of schema `SNAPSHOT`, one a record."""


def find_standing_rows(source: str, one_run: bool, storage: StorageConfig) -> StandingRows:
    """The rows of a run's results; or of a catalogue, of each record the one that is current.

    Args:
        source: the directory of the run, or of all runs.
        one_run: which of both.
        storage: how it is reached.

    Raises:
        RunConflict: the run is of another job.
        StoreError: there is no run, or one is damaged.
    """
    uri = source.rstrip("/")
    return _of_run(uri, storage) if one_run else _of_catalogue(uri, storage)


def _of_catalogue(uri: str, storage: StorageConfig) -> StandingRows:
    catalogue = open_with_runs(uri, "edit", storage, write=False)
    pending = find_pending(catalogue, on_damaged=_raise)
    runs = dict(pending.base.runs)
    names = pending.names.intersection([*runs, *(run.name for run in pending.runs)])
    stores = {name: _open(catalogue, name) for name in sorted(names)}
    tables = merge_pending(catalogue, pending, schema.RESULTS, _raise, runs)
    current = (table.filter(table["current"]) for table in tables)
    return StandingRows(catalogue.output.uri, stores, current)


def _open(catalogue: Catalogue, name: str) -> Store:
    return open_store(catalogue.output.locate(name), catalogue.storage, make=False)


def _of_run(uri: str, storage: StorageConfig) -> StandingRows:
    store = open_store(uri, storage, make=False)
    manifest = read_edit_run(store)["settings"].get("input", {}).get("manifest", "")

    def read() -> Iterator[pa.Table]:
        for file, table in read_columns(uri, _OF_RUN, schema.RESULTS, storage, _raise):
            yield _as_snapshot(table, store.name, shard_in(file), manifest)

    return StandingRows(uri.rpartition("/")[0], {store.name: store}, read())


def _as_snapshot(table: pa.Table, run: str, shard: int, manifest: str) -> pa.Table:
    """Rows of a result file as a catalogue of this one run would have them."""
    rows = table.num_rows
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= {
        "models": pa.array([json.dumps(models) for models in table["models"].to_pylist()], pa.string()),
        "made_as": table["work_id"],
        "run": pa.array([run] * rows, pa.string()),
        "shard": pa.array([shard] * rows, pa.int32()),
        "row": pa.array(range(rows), pa.int32()),
        "source": pa.array([manifest] * rows, pa.string()),
        "current": pa.array([True] * rows, pa.bool_()),
    }
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in schema.SNAPSHOT]
    return pa.table(arrays, schema=schema.SNAPSHOT)


def _raise(error: StoreError) -> None:
    raise error
