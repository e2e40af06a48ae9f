"""The current row of each record, over all runs of the edit job under one output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.catalogue.fold import merge_pending
from mira_batch.storage.catalogue.merge import mark_current
from mira_batch.storage.catalogue.pending import find_pending
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.run.history import read_result_file, shard_in
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import result_files, take_rows


def read_catalogue(
    output_uri: str,
    columns: Sequence[str] | None = None,
    storage: StorageConfig | None = None,
    accept_unfinished: bool = False,
) -> pa.Table:
    """The catalogue as it is now: one row per record_id that any run under this output has, in no set order.

    It is a row with status ok, if the record has one; else an unfinished one, and else a failed one: filter
    by `status` for those that are good. Of several that are equally good it is the one that the newest plan
    wants, also where that plan found it done already: an instruction that was changed back brings its earlier
    result back. Plans are numbered; no clock is asked. Records that the manifest has lost since are still
    there.

    Nothing is written: what runs have committed since the newest snapshot is added in memory.

    Args:
        output_uri: `output.uri`, the directory of all runs.
        columns: which columns to read; None reads all but `steps`. Leave out `image` when only the outcome
            matters, since the whole table is in memory (beside some 200 bytes a record while it is chosen).
        storage: how to reach an object store; None uses the environment.
        accept_unfinished: an unfinished row is as good as one with status ok. It keeps its status.

    Raises:
        StoreError: there is no run, the store can't be used, or a run is damaged.
        ValueError: there is no such column.
    """
    storage = storage or StorageConfig()
    names = list(columns) if columns is not None else [n for n in schema.RESULTS.names if n != "steps"]
    if unknown := [name for name in names if name not in schema.RESULTS.names]:
        raise ValueError(f"no such column: {', '.join(unknown)}; there are {', '.join(schema.RESULTS.names)}")
    catalogue = open_catalogue(make_absolute(output_uri), "edit", storage, make=False)
    pending = find_pending(catalogue, on_damaged=_raise)
    runs = dict(pending.base.runs)
    places: dict[str, dict[int, list[int]]] = {}
    for table in merge_pending(catalogue, pending, schema.RESULTS, _raise, runs):
        for row in _choose(table, accept_unfinished).to_pylist():
            places.setdefault(row["run"], {}).setdefault(row["shard"], []).append(row["row"])
    if not runs and not pending.unplanned:
        raise StoreError(
            f"{output_uri}: holds no run of the edit job; give the directory of all runs, output.uri (those "
            "of several rollouts or branches are in no catalogue)"
        )
    whole = pa.schema([schema.RESULTS.field(name) for name in names])
    tables = [whole.empty_table()]
    for run in sorted(places):
        where = catalogue.output.locate(run)
        fs, files = result_files(where, storage)
        by_shard = {shard_in(file): file for file in files}
        for shard, rows in sorted(places[run].items()):
            if shard not in by_shard:
                raise StoreError(
                    f"{where}/{result_key(shard)}: is gone, and {len(rows)} records need it; put it back, or "
                    f"call `mira-batch catalogue rebuild {output_uri}`: the next run then makes them again"
                )
            take = partial(_take, rows=sorted(rows), whole=whole)
            tables += read_result_file(fs, where, by_shard[shard], list(whole), take, storage)
    return pa.concat_tables(tables)


def _choose(table: pa.Table, accept_unfinished: bool) -> pa.Table:
    """The rows that stand for their records."""
    if accept_unfinished:
        table = mark_current(table, good=(Status.ok, Status.unfinished))
    return table.filter(table["current"]).select(["run", "shard", "row"])


def _take(parquet: pq.ParquetFile, rows: Sequence[int], whole: pa.Schema) -> list[pa.Table]:
    return [table.cast(whole) for table in take_rows(parquet, rows, whole.names)]


def _raise(error: StoreError) -> None:
    raise error
