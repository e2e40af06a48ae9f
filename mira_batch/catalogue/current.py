"""The catalogue: the current row of each record, over all runs of the edit job under one output."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.run.history import list_runs, open_results, read_columns
from mira_batch.storage.run.layout import job_of
from mira_batch.storage.run.results import result_files, take_rows


def read_catalogue(
    output_uri: str,
    columns: Sequence[str] | None = None,
    storage: StorageConfig | None = None,
    accept_unfinished: bool = False,
) -> pa.Table:
    """The catalogue as it is now: one row per record_id that any run under this output has, in no set order.

    It is the row of the newest run that has the record with status ok; where none has, the newest unfinished
    one, and else the newest failed one: filter by `status` for those that are good. Records that the manifest
    has lost since are still there. Runs are ordered by the time they were created, by the clock of the
    machine that created them.

    Args:
        output_uri: `output.uri`, the directory of all runs.
        columns: which columns to read; None reads all but `steps`. Leave out `image` when only the outcome
            matters, since the whole table is in memory (beside some 200 bytes a record while it is chosen).
        storage: how to reach an object store; None uses the environment.
        accept_unfinished: an unfinished row is as good as one with status ok: the newest of both is taken. It
            keeps its status.

    Raises:
        StoreError: there is no run, the store can't be used, or a run is damaged.
        ValueError: there is no such column.
    """
    storage = storage or StorageConfig()
    names = list(columns) if columns is not None else [n for n in schema.RESULTS.names if n != "steps"]
    if unknown := [name for name in names if name not in schema.RESULTS.names]:
        raise ValueError(f"no such column: {', '.join(unknown)}; there are {', '.join(schema.RESULTS.names)}")
    found = list_runs(make_absolute(output_uri), storage, on_damaged=_raise)
    runs = [run for run, about in found if job_of(about) == "edit"]
    if not runs:
        raise StoreError(
            f"{output_uri}: holds no run of the edit job; give the directory of all runs, output.uri"
        )
    whole = pa.schema([schema.RESULTS.field(name) for name in names])
    tables = [whole.empty_table()]
    for run, rows in _find_current_rows(runs, storage, accept_unfinished).items():
        fs, files = result_files(run, storage)
        for file in files:
            if file in rows:
                with open_results(fs, run, file, list(whole)) as parquet:
                    tables += [table.cast(whole) for table in take_rows(parquet, rows[file], names)]
    return pa.concat_tables(tables)


def _find_current_rows(
    runs: Sequence[str], storage: StorageConfig, accept_unfinished: bool
) -> dict[str, dict[str, list[int]]]:
    """Run -> result file -> the numbers of the rows that are current, ascending."""
    files: list[tuple[str, str]] = []
    current: dict[bytes, int] = {}
    """Digest of the record_id -> place in `files`, row and rank, packed, as there may be millions."""
    ranks = {Status.ok: 2, Status.unfinished: 2 if accept_unfinished else 1}
    for run in runs:
        for file, table in read_columns(
            run, ("record_id", "status"), schema.RESULTS, storage, on_damaged=_raise
        ):
            columns = (table["record_id"].to_pylist(), table["status"].to_pylist())
            for row, (record_id, status) in enumerate(zip(*columns, strict=True)):
                key, rank = bytes.fromhex(content_hash(record_id)), ranks.get(status, 0)
                if rank >= current.get(key, 0) & 3:
                    current[key] = len(files) << 32 | row << 2 | rank
            files.append((run, file))
    chosen: dict[str, dict[str, list[int]]] = {run: {} for run in runs}
    for packed in sorted(current.values()):
        run, file = files[packed >> 32]
        chosen[run].setdefault(file, []).append((packed & 0xFFFFFFFF) >> 2)
    return chosen


def _raise(error: StoreError) -> None:
    raise error
