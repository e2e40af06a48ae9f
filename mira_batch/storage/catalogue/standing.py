"""The rows that stand for the records of one run, or of all runs under an output, as a reader finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ManifestError, StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.fold import merge_pending, read_run
from mira_batch.storage.catalogue.pending import find_pending
from mira_batch.storage.catalogue.place import Catalogue, open_with_runs
from mira_batch.storage.run.layout import RUN, read_edit_run
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import Store, file_exists, find_files, open_store, read_errors, shorten_error


@dataclass(frozen=True)
class StandingRows:
    """What stands for each record. `tables` is to be read once."""

    output: str
    """The directory of all runs."""
    runs: Mapping[str, Store]
    """The directories of those that may be needed, by name."""
    tables: Iterator[pa.Table]
    """Rows of schema `SNAPSHOT`, one a record; of a run of several rollouts one for each."""


def find_kind(place: str, storage: StorageConfig) -> bool | None:
    """Whether a place is one run rather than all runs of an output; None: neither, so it is a manifest.

    Raises:
        ManifestError: it can't be looked at.
    """
    try:
        if file_exists(f"{place}/{RUN}", storage):
            return True
        runs = find_files(f"{place}/*/{RUN}", storage)
        return False if any(file.location.endswith(f"/{RUN}") for file in runs) else None
    except read_errors() as error:
        raise ManifestError(
            f"{place}: can't be looked at; check the path and the credentials ({shorten_error(error)})"
        ) from error


def find_standing_rows(
    source: str, one_run: bool, storage: StorageConfig, rollouts: bool = False
) -> StandingRows:
    """The rows of a run's results; or of a catalogue, of each record the one that is current.

    Args:
        source: the directory of the run, or of all runs.
        one_run: which of both.
        storage: how it is reached.
        rollouts: whether a run may have several rows of a record.

    Raises:
        RunConflict: the run is of another job, or has several rollouts of each record.
        StoreError: there is no run, or one is damaged.
    """
    uri = source.rstrip("/")
    return _of_run(uri, storage, rollouts) if one_run else _of_catalogue(uri, storage)


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


def _of_run(uri: str, storage: StorageConfig, rollouts: bool) -> StandingRows:
    store = open_store(uri, storage, make=False)
    about = read_edit_run(store)
    if not rollouts:
        refuse_rollouts(about, uri, "name a run with rollouts: 1")
    rows = read_run(store, "edit", storage, schema.RESULTS, _raise)
    return StandingRows(uri.rpartition("/")[0], {store.name: store}, rows)


def _raise(error: StoreError) -> None:
    raise error
