"""Over all runs under one output: what is done, and the current row of each record."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch import read_catalogue
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import read_part
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.join import KEYS, Cause, join
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.manifest.listing import ManifestFile
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.layout import RUN, hash_form, result_key
from mira_batch.storage.stores.objects import Store
from tests.support.runs.edits import edit_results, open_edit_run, spec_of
from tests.support.runs.finished import a_config, a_plan_row, a_result, a_trajectory
from tests.support.servers.odd_s3 import OddS3, odd_s3
from tests.support.servers.s3 import S3Server

FILES = [ManifestFile("/data/m.jsonl", "jsonl", "v1")]


def a_run(config: BulkEditConfig, run_id: str, *shards: list[dict[str, Any]]) -> Store:
    """A run with these rows in its result files."""
    store = open_edit_run(config.model_copy(update={"run_id": run_id}), FILES)
    for index, rows in enumerate(shards):
        assert store.create(result_key(index), edit_results(rows))
    return store


def row(index: int, ok: bool = True, says: str = "", **models: str) -> dict[str, Any]:
    result = a_result(a_plan_row(index), a_trajectory(1, fails=not ok), a_config("/out"))
    return result | {"final_thought": says, "models": result["models"] | models}


def unfinished(index: int, says: str = "", old: bool = False) -> dict[str, Any]:
    """The row of a record that was not carried out; as release 0.1 wrote it, which said ok."""
    return row(index, says=says) | {"status": "ok" if old else "unfinished", "stop_reason": "max_steps"}


def work(*indices: int) -> set[bytes]:
    return {bytes.fromhex(a_plan_row(i)["work_id"]) for i in indices}


def find_done(config: BulkEditConfig) -> tuple[set[bytes], Counter[str]]:
    """Which of ten records a plan would leave out now, and by whose work."""
    catalogue = open_catalogue(config.output.uri, "edit", config.storage)
    snapshot = fold(catalogue, schema.RESULTS, lambda error: logging.warning("%s", error))
    form = hash_form(spec_of(config, FILES).settings)
    alike = [name for name, run in snapshot.runs.items() if run.form == form]
    rows = [a_plan_row(index) for index in range(10)]
    keys = {"number": range(10), "digest": digest_records([row["record_id"] for row in rows])}
    keys |= {name: [row.get(name) for row in rows] for name in KEYS.names if name not in keys}
    table = pa.table({name: pa.array(keys[name], KEYS.field(name).type) for name in KEYS.names})
    known = read_part(catalogue.store, snapshot, 0, max(1, len(snapshot.files)))
    found = join(table, known, config.output.done_statuses, alike, config.input.manifest)
    places = (found.causes == Cause.unchanged).nonzero()[0].tolist()
    return {bytes.fromhex(rows[place]["work_id"]) for place in places}, found.models


def done(config: BulkEditConfig) -> set[bytes]:
    return find_done(config)[0]


@pytest.fixture
def config(tmp_path: Path) -> BulkEditConfig:
    return a_config(tmp_path / "out")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING)
    return caplog


def test_what_other_runs_have_done_well_is_done(
    config: BulkEditConfig, log: pytest.LogCaptureFixture
) -> None:
    a_run(config, "one", [row(0), row(1, ok=False)], [row(2)])
    two = a_run(config, "two", [row(3)])
    assert done(config) == work(0, 2, 3)
    Path(two.uri).with_name("notes").mkdir()
    assert done(config) == work(0, 2, 3)
    assert log.messages == []


def test_only_runs_that_give_the_same_count(config: BulkEditConfig) -> None:
    a_run(config, "one", [row(0)])
    base = config.model_dump(mode="json")
    other_images = BulkEditConfig.model_validate(base | {"output": base["output"] | {"step_images": "drop"}})
    a_run(other_images, "two", [row(1)])
    other_pixels = BulkEditConfig.model_validate(base | {"limits": {"max_steps": 3}})
    a_run(other_pixels, "three", [row(2)])
    assert (done(config), done(other_images), done(other_pixels)) == (work(0), work(1), work(2))


@pytest.mark.parametrize("old", [False, True])
def test_unfinished_records_are_done_only_where_the_user_says_so(config: BulkEditConfig, old: bool) -> None:
    a_run(config, "one", [row(0), unfinished(1, old=old), row(2, ok=False)])
    assert done(config) == work(0)
    output = config.output.model_copy(update={"skip_unfinished": True})
    assert done(config.model_copy(update={"output": output})) == work(0, 1)
    neither = output.model_copy(update={"skip_done": False})
    assert neither.done_statuses == ()


def test_the_last_to_do_it_is_named(config: BulkEditConfig) -> None:
    """By time, not by name: `b` is older than `a`."""
    a_run(config, "b", [row(0), row(1), row(2, policy="rules/0")])
    a_run(config, "a", [row(1, policy="rules/2"), row(3, policy="rules/2")])
    found = {json.loads(name)["policy"]: records for name, records in find_done(config)[1].items()}
    assert found == {"rules/1": 1, "rules/2": 2, "rules/0": 1}


@pytest.mark.parametrize("damage", ["cut short", "empty", "foreign", "of other types", "damaged page"])
def test_a_damaged_result_file_counts_as_not_done_and_its_neighbours_as_done(
    config: BulkEditConfig, log: pytest.LogCaptureFixture, damage: str
) -> None:
    store = a_run(config, "one", [row(0)], [row(1)], [row(2)])
    path = Path(store.uri, result_key(1))
    data = path.read_bytes()
    if damage == "foreign":
        pq.write_table(pa.table({"of": ["somebody else"]}), path)
    elif damage == "of other types":
        pq.write_table(pa.table({"work_id": [7], "status": ["ok"], "models": ["x"]}), path)
    else:
        kinds = {"cut short": data[:1000], "empty": b"", "damaged page": data[:4] + bytes(400) + data[404:]}
        path.write_bytes(kinds[damage])
    assert done(config) == work(0, 2)
    [message] = log.messages
    assert message.startswith(f"{path}: is damaged (")
    with pytest.raises(StoreError, match=r"part-00001\.parquet: is damaged"):
        read_catalogue(config.output.uri, ["record_id", "work_id", "status"])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"run_id": "one"}'])
def test_a_run_with_a_damaged_run_json_counts_as_not_done(
    config: BulkEditConfig, log: pytest.LogCaptureFixture, damage: bytes
) -> None:
    store = a_run(config, "one", [row(0)])
    a_run(config, "two", [row(1)])
    store.put(RUN, damage)
    assert done(config) == work(1)
    [message] = log.messages
    assert message.startswith(f"{store.uri}/run.json: is damaged (")
    with pytest.raises(StoreError, match=r"one/run\.json: is damaged"):
        read_catalogue(config.output.uri)


def test_a_busy_store_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with odd_s3(OddS3()) as server:
        storage = StorageConfig(endpoint_url=server.endpoint, timeout_seconds=5, retry_seconds=2)
        config = a_config("s3://bucket/out").model_copy(update={"storage": storage})
        run = a_run(config, "one", [row(0)])
        damaged: list[StoreError] = []
        server.get_faults = ["busy"] * 100
        with pytest.raises(StoreError, match=r"part-00000\.parquet: the store has failed for 2 s"):
            list(read_columns(run.uri, ["work_id"], schema.RESULTS, storage, on_damaged=damaged.append))
        server.get_faults = []
        server.objects[f"bucket/out/one/{result_key(0)}"] = b"no Parquet"
        assert (
            list(read_columns(run.uri, ["work_id"], schema.RESULTS, storage, on_damaged=damaged.append)) == []
        )
    assert len(damaged) == 1 and "part-00000.parquet: is damaged" in str(damaged[0])


SAID = ["record_id", "final_thought", "status"]


def said(config: BulkEditConfig, storage: StorageConfig | None = None) -> dict[str, tuple[str, str]]:
    rows = read_catalogue(config.output.uri, SAID, storage).to_pylist()
    found = {entry["record_id"]: (entry["final_thought"], entry["status"]) for entry in rows}
    assert len(found) == len(rows)
    return found


def test_the_catalogue_is_the_newest_good_row_of_each_record(config: BulkEditConfig) -> None:
    a_run(config, "c", [row(0, says="c"), row(1, says="c")], [row(2, ok=False, says="c"), row(3, says="c")])
    a_run(config, "b", [row(1, says="b"), row(2, ok=False, says="b"), row(3, ok=False, says="b")])
    a_run(config, "a", [], [row(4, says="a")])
    expected = {
        "r0": ("c", "ok"),
        "r1": ("b", "ok"),
        "r2": ("b", "failed"),
        "r3": ("c", "ok"),
        "r4": ("a", "ok"),
    }
    assert said(config) == expected
    store = a_run(config, "0", [row(2, says="0")])
    assert said(config) == expected | {"r2": ("0", "ok")}
    about = json.loads(store.get(RUN) or b"")
    del about["created"]
    store.put(RUN, json.dumps(about).encode())
    assert said(config)["r2"] == ("0", "ok"), "a run of before the time was noted is the oldest"


@pytest.mark.parametrize("old", [False, True])
def test_an_unfinished_row_is_not_as_good_as_an_ok_one(config: BulkEditConfig, old: bool) -> None:
    a_run(config, "c", [row(0, says="c"), unfinished(1, "c", old), unfinished(2, "c", old), row(3, ok=False)])
    other = unfinished(0, "b", old) | {"work_id": f"{99:032x}"}  # of another instruction
    a_run(config, "b", [other, unfinished(1, "b", old), row(2, ok=False, says="b")])
    assert said(config) == {
        "r0": ("c", "ok"),
        "r1": ("b", "unfinished"),
        "r2": ("c", "unfinished"),
        "r3": ("", "failed"),
    }
    table = read_catalogue(config.output.uri, SAID, accept_unfinished=True)
    found = {entry["record_id"]: (entry["final_thought"], entry["status"]) for entry in table.to_pylist()}
    assert found["r0"] == ("b", "unfinished") and found["r2"] == ("c", "unfinished")
    whole = read_catalogue(config.output.uri)
    assert whole.column_names == [name for name in schema.RESULTS.names if name != "steps"]
    assert sorted(whole["status"].to_pylist()) == ["failed", "ok", "unfinished", "unfinished"]


def test_the_catalogue_has_the_images_of_the_rows_it_has(config: BulkEditConfig) -> None:
    rows = [row(i) for i in range(150)]
    a_run(config, "one", rows[:100], rows[100:])
    newer = [row(i, says="again") | {"image": {"bytes": b"new", "path": None}} for i in range(0, 150, 2)]
    a_run(config, "two", newer)
    table = read_catalogue(config.output.uri)
    assert table.column_names == [name for name in schema.RESULTS.names if name != "steps"]
    for entry in table.to_pylist():
        index = int(entry["record_id"][1:])
        assert entry["image"] == (rows if index % 2 else newer)[index if index % 2 else index // 2]["image"]
        assert entry["metadata"] == f'{{"sku": {index}}}'
    assert table.num_rows == 150
    steps = read_catalogue(config.output.uri, ["steps", "work_id"])
    assert steps.column_names == ["steps", "work_id"] and steps.num_rows == 150
    assert steps.schema.field("steps").type == schema.RESULTS.field("steps").type


def test_there_may_be_no_catalogue(tmp_path: Path, config: BulkEditConfig) -> None:
    with pytest.raises(StoreError, match="no such directory"):
        read_catalogue(str(tmp_path / "nowhere"))
    with pytest.raises(
        StoreError, match=r"holds no run of the edit job; give the directory of all runs, output\.uri"
    ):
        read_catalogue(str(tmp_path))
    a_run(config, "one")
    assert read_catalogue(config.output.uri, SAID).num_rows == 0
    with pytest.raises(ValueError, match="no such column: colour; there are record_id, work_id"):
        read_catalogue(config.output.uri, ["record_id", "colour"])


@pytest.mark.s3
def test_the_catalogue_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    config = a_config(f"s3://{s3.bucket}/catalogue").model_copy(update={"storage": storage})
    a_run(config, "one", [row(0, says="one"), row(1, says="one")])
    a_run(config, "two", [row(1, says="two")])
    assert said(config, storage) == {"r0": ("one", "ok"), "r1": ("two", "ok")}
    assert done(config) == work(0, 1)
    with pytest.raises(StoreError, match="holds no run"):
        read_catalogue(f"s3://{s3.bucket}/elsewhere", storage=storage)
