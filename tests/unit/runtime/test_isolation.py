"""Isolation inside one worker: who notes a try, and what the row of a record that kills is made of."""

from __future__ import annotations

import io
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_outputs
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import EngineDead
from mira_batch.runtime.attempts import AttemptLog, Session
from mira_batch.storage.run.planfile import Shard, read_plan, read_shard
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.models.deadly import deadly
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import open_worker, plan_edits
from tests.support.runs.faultruns import counting

SESSION = "a1"
POLICY = {"type": "simulated", "steps": {"exact": {"*": 2}}}


def planned(tmp_path: Path, records: int, **more: Any) -> tuple[BulkEditConfig, Store, list[Shard]]:
    """A planned run of single-record shards, each of which came back from a worker that died."""
    manifest = make_catalogue(tmp_path / "catalogue", records)
    base = {"workers": {"shard_size": 1}, "policy": POLICY, "editor": {"type": "simulated"}}
    config = load_config(settings(manifest, tmp_path / "out", **(base | more)))
    summary = plan_edits(config)
    store = open_store(summary.run, config.storage)
    plan = read_plan(store)
    assert plan is not None
    shards = list(plan.shards())
    for shard in shards:
        attempts(store, shard.index)
    return config, store, shards


def attempts(store: Store, shard: int) -> AttemptLog:
    """The log of a new attempt."""
    log = AttemptLog(store, shard, Session(SESSION))
    log.open(ShardLog(store, shard).open())
    return log


def work_of(store: Store, shard: Shard) -> str:
    (row,) = read_shard(store, shard)
    return row["work_id"]


def tries_of(store: Store) -> set[int]:
    """The shards that have a note of a try."""
    return {int(entry.key.split("/")[1]) for entry in store.list("state") if "/try-" in entry.key}


def test_nobody_is_tried_between_the_death_of_the_engine_and_the_end_of_the_process(tmp_path: Path) -> None:
    """The process of a real worker ends within milliseconds; this one lives on as long as one likes."""
    config, store, shards = planned(tmp_path, 6, editor=deadly({"rec-00000/0": "raise"}))
    worker = open_worker(config, store.uri, SESSION)
    with ThreadPoolExecutor(len(shards)) as pool:
        calls = [pool.submit(worker, shard) for shard in shards]
        with pytest.raises(EngineDead, match="had enough"):
            calls[0].result()
        time.sleep(0.5)  # the window
        worker.close()
        ends = {type(call.exception()) for call in calls[1:]}
    assert CancelledError in ends and ends <= {CancelledError, type(None)}, "some may have come before"
    assert tries_of(store) == {0}


def test_who_was_tried_before_goes_first(tmp_path: Path) -> None:
    """It may blame the others, else, for what the process lacks; the rows keep the plan's order."""
    log = tmp_path / "edits"
    config, store, shards = planned(
        tmp_path, 24, editor=counting(log, 0), workers={"shard_size": 4, "records_in_flight": 4}
    )
    plan = read_shard(store, shards[0])
    tried = plan[2]
    attempts(store, 0).begin(tried["work_id"], 0)
    worker = open_worker(config, store.uri, SESSION)
    try:
        worker(shards[0])
    finally:
        worker.close()
    assert log.read_text().splitlines()[0] == f"{tried['record_id']} 0"
    assert read_outputs(store.uri)["record_id"].to_pylist() == [row["record_id"] for row in plan]


def run_row(config: BulkEditConfig, store: Store, shards: list[Shard]) -> dict[str, Any]:
    """The row of the first record, when its shard is run."""
    worker = open_worker(config, store.uri, SESSION)
    try:
        receipt = worker(shards[0])
        assert receipt is not None and receipt.tally.failed == 1
    finally:
        worker.close()
    (row,) = read_outputs(store.uri).to_pylist()
    return row


def test_the_row_of_a_record_that_kills_holds_its_original_image(tmp_path: Path) -> None:
    config, store, shards = planned(tmp_path, 1)
    for _ in range(2):
        attempts(store, 0).begin(work_of(store, shards[0]), 0)
    row = run_row(config, store, shards)
    original = next((tmp_path / "catalogue" / "images").iterdir())
    images = {path.name: path for path in original.parent.iterdir()}
    assert row["error_kind"] == "worker_crash" and row["num_steps"] == 0
    image = Image.open(io.BytesIO(row["image"]["bytes"]))
    same = Image.open(images[Path(row["source"]).name])
    assert image.tobytes() == same.tobytes() and (row["width"], row["height"]) == same.size
    assert row["source_digest"] == row["result_digest"] is not None


def test_an_image_whose_reading_kills_is_not_read_for_the_row_either(tmp_path: Path) -> None:
    config, store, shards = planned(tmp_path, 1)
    work = work_of(store, shards[0])
    for row in (False, False, True):
        attempts(store, 0).begin(work, 0, row=row)
    row = run_row(config, store, shards)
    assert row["error_kind"] == "worker_crash"
    assert row["image"] is None and row["source_digest"] is None and row["width"] is None


def test_a_record_whose_image_is_gone_by_then_still_gets_its_row(tmp_path: Path) -> None:
    config, store, shards = planned(tmp_path, 1)
    for _ in range(2):
        attempts(store, 0).begin(work_of(store, shards[0]), 0)
    for path in (tmp_path / "catalogue" / "images").iterdir():
        path.unlink()
    row = run_row(config, store, shards)
    assert row["error_kind"] == "worker_crash" and row["image"] is None
