"""Results of earlier releases lack columns, and are read with these as null."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch import read_catalogue, read_outputs
from mira_batch.config.shared import StorageConfig
from mira_batch.runtime.copies import _read_rows
from mira_batch.storage import schema
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.catalogue.trajectory import find_trajectory
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.results import result_files, take_rows
from mira_batch.storage.stores.objects import Store
from tests.support.runs.edits import verify_edits
from tests.support.runs.finished import a_config, a_run

ADDED = sorted(schema.ADDED)


def write_as_before(store: Store, key: str) -> None:
    data = store.get(key)
    assert data is not None
    table = pq.read_table(io.BytesIO(data)).drop_columns(ADDED)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True, row_group_size=2)
    store.put(key, buffer.getvalue())


@pytest.fixture
def run(tmp_path: Path) -> Store:
    """A run of which an earlier release made the first half."""
    store = a_run(a_config(tmp_path), records=8)
    keys = sorted(entry.key for entry in store.list("results"))
    for key in keys[: len(keys) // 2]:
        write_as_before(store, key)
    return store


def _raise(error: Exception) -> None:
    raise error


def test_every_reader_gives_them_as_null(run: Store) -> None:
    every = list(schema.RESULTS.names)
    outputs = read_outputs(run.uri, every)
    assert outputs.num_rows == 8 and outputs.schema.names == every
    assert set(outputs["source_type"].to_pylist()) == {None}
    everything = read_catalogue(run.uri.rpartition("/")[0], every)
    assert everything.num_rows == 8 and everything.schema.equals(schema.RESULTS)
    tables = read_columns(run.uri, ["record_id", *ADDED], schema.RESULTS, StorageConfig(), _raise)
    assert sum(table.num_rows for _, table in tables) == 8
    for record in ("r0", "r7"):
        assert find_trajectory(run.uri, record).row["source_depth"] is None


def test_rows_are_taken_in_the_order_that_is_asked_for(run: Store) -> None:
    fs, files = result_files(run.uri, StorageConfig())
    with pq.ParquetFile(files[0], filesystem=fs) as parquet:
        (table,) = take_rows(parquet, [0], ["source_type", "record_id", "status"])
        assert table.schema.names == ["source_type", "record_id", "status"]
        assert table.schema.field("source_type").type == pa.string()
        with pytest.raises(KeyError):
            list(take_rows(parquet, [0], ["no_such_column"]))


def test_they_are_no_fault_and_can_be_copied(run: Store) -> None:
    assert verify_edits(run).problems == []
    catalogue = open_catalogue(run.uri.rpartition("/")[0], "edit", StorageConfig(), make=False)
    copied = list(_read_rows(run, {(0, 0), (1, 0)}, schema.RESULTS, catalogue))
    assert [table.schema.names for _, _, table in copied] == [schema.RESULTS.names] * 2


def test_another_column_that_is_missing_is_a_fault(run: Store) -> None:
    key = min(entry.key for entry in run.list("results"))
    data = run.get(key)
    assert data is not None
    table = pq.read_table(io.BytesIO(data)).drop_columns(["final_thought"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    run.put(key, buffer.getvalue())
    assert any("has another schema" in problem for problem in verify_edits(run).problems)
