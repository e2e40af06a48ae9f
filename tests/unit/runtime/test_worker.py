"""The shard worker without Ray: what it resumes, how much runs at once, and what it tells."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.receipts import Receipt, RunSummary, Tally, WorkerStatus
from mira_batch.core.usage import Usage
from mira_batch.runtime import worker as worker_module
from mira_batch.runtime.ledger import from_json, to_json
from mira_batch.runtime.pool import count_shards_in_hand
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.planfile import Shard, read_plan
from mira_batch.storage.stores.objects import Entry, Store, open_store
from tests.support import ROOT
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import open_worker, plan_edits, verify_edits

SIMULATED = {"policy": {"type": "simulated"}, "editor": {"type": "simulated"}}


def planned(tmp_path: Path, records: int = 12, **more: Any) -> tuple[BulkEditConfig, str, list[Shard]]:
    manifest = tmp_path / "catalogue" / "manifest.jsonl"
    if not manifest.exists():
        make_catalogue(tmp_path / "catalogue", records)
    config = load_config(settings(manifest, tmp_path / more.pop("out", "out"), **more))
    summary = plan_edits(config)
    plan = read_plan(open_store(summary.run, config.storage))
    assert plan is not None
    return config, summary.run, list(plan.shards())


def contents(where: str) -> list[Any]:
    outputs = read_outputs(where).select(["record_id", "status", "image", "stop_reason", "num_steps"])
    steps = read_trajectories(where).select(["record_id", "index", "instruction", "seed", "after", "image"])
    order = [("record_id", "ascending")]
    by_step = [*order, ("index", "ascending")]
    return [outputs.sort_by(order).to_pylist(), steps.sort_by(by_step).to_pylist()]


def steps_of(store: Store) -> list[Entry]:
    return [entry for entry in store.list("state") if entry.key.endswith(".step")]


@pytest.mark.parametrize("logged", [1, 4])
def test_broken_off_and_resumed_it_gives_the_same(tmp_path: Path, logged: int) -> None:
    """A worker is ended after so many steps; the next one makes none of them again."""
    # Each record takes long after its first step, so that none is committed before the worker is ended.
    steps = {"policy": {"type": "simulated", "steps": {"exact": {"*": 6}}}}
    slow = SIMULATED | steps | {"editor": {"type": "simulated", "service": {"seconds": 0.02}, "max_batch": 1}}
    whole = run(planned(tmp_path, out="whole", **slow)[0])
    config, broken, shards = planned(tmp_path, out="broken", **slow)
    store = open_store(broken, config.storage)
    worker = open_worker(config, broken, "a1")
    with ThreadPoolExecutor(len(shards)) as pool:
        calls = [pool.submit(worker, shard) for shard in shards]
        while sum(1 for _ in steps_of(store)) < logged and not all(call.done() for call in calls):
            time.sleep(0.005)
        worker.close()
        assert any(isinstance(call.exception(), CancelledError) for call in calls if not call.cancelled())
    left = sum(
        1 for entry in steps_of(store) if int(entry.key.split("/")[1]) not in find_committed_shards(store)
    )
    summary = run(config)
    assert summary.resumed_steps == left >= 1
    assert summary.steps > left, "the worker was ended before it was done"
    assert contents(broken) == contents(whole.run)
    assert not list(store.list("state")) and verify_edits(store).whole


def test_a_committed_shard_is_left_alone(tmp_path: Path) -> None:
    config, where, shards = planned(tmp_path)
    first, second = open_worker(config, where, "a1"), open_worker(config, where, "a1")
    try:
        receipt = first(shards[0])
        assert receipt is not None and receipt.committed
        data = open_store(where, config.storage).get("results/part-00000.parquet")
        again = second(shards[0])
        assert again == replace(receipt, committed=False), "the counts are those of the file that stands"
        assert open_store(where, config.storage).get("results/part-00000.parquet") == data
    finally:
        first.close()
        second.close()


def test_two_workers_on_one_shard_commit_it_once(tmp_path: Path) -> None:
    slow = {"policy": {"type": "simulated"}, "editor": {"type": "simulated", "service": {"seconds": 0.05}}}
    config, where, shards = planned(tmp_path, records=3, **slow)
    workers = [open_worker(config, where, "a1") for _ in range(3)]

    async def race() -> list[Receipt]:
        return await asyncio.gather(*(asyncio.to_thread(worker, shards[0]) for worker in workers))

    try:
        receipts = asyncio.run(race())
    finally:
        for worker in workers:
            worker.close()
    assert sum(receipt.committed for receipt in receipts) == 1
    rest = run(config)
    assert rest.complete and verify_edits(open_store(where, config.storage)).whole


def test_a_model_that_cannot_be_built_is_the_users_error(tmp_path: Path) -> None:
    factory = {"type": "custom", "factory": "tests.contract.custom_models:no_such_function"}
    config, where, _ = planned(tmp_path)
    with pytest.raises(ConfigError, match="no_such_function"):
        open_worker(config.model_copy(update={"policy": load_config(
            {"input": {"manifest": "m"}, "output": {"uri": "o"}, "policy": factory}
        ).policy}), where, "a1")  # fmt: skip


@given(
    in_flight=st.integers(1, 256),
    sizes=st.lists(st.integers(1, 64), min_size=1, max_size=40),
    workers=st.integers(1, 3),
)
def test_count_shards_in_hand_keep_a_worker_full(in_flight: int, sizes: list[int], workers: int) -> None:
    shards = [Shard(i, "f", i, size) for i, size in enumerate(sizes)]
    hand = count_shards_in_hand(WorkersConfig(min=workers, records_in_flight=in_flight), shards)
    least = 4 if workers > 1 else max(8, in_flight // 2)
    assert hand >= least
    assert hand == least or (hand - 1) * max(sizes) < 2 * in_flight <= hand * max(sizes)


def test_a_worker_runs_as_many_records_as_its_models_ask_for(tmp_path: Path) -> None:
    """Eight in a call of the policy and four in one of the editor make 24."""
    held = {"type": "simulated", "max_batch": 8, "service": {"seconds": 0.5}}
    models = {"policy": held, "editor": {"type": "simulated", "max_batch": 4}}
    most = 0

    def heartbeat(status: WorkerStatus) -> bool:
        nonlocal most
        most = max(most, len(status.in_flight))
        return most >= 24

    config, where, shards = planned(tmp_path, records=40, workers={"shard_size": 8}, **models)
    worker = open_worker(config, where, "a1", on_heartbeat=heartbeat)
    with ThreadPoolExecutor(len(shards)) as pool:
        list(pool.map(worker, shards))
    worker.close()
    assert most == 24


TALLY = Tally(10, 8, 25, 3, {"editor_failed": 2}, {"policy_stop": 8}, Usage.of(editor=1.5))


def test_receipts_travel_as_json() -> None:
    receipt = Receipt(7, TALLY, 1000)
    assert from_json(json.loads(to_json(receipt))) == receipt


def test_a_summary_adds_receipts_up() -> None:
    summary = RunSummary("out/x", "x", planned=30, committed=10, already=10)
    summary = summary.plus(Receipt(0, TALLY), 10)
    assert (summary.committed, summary.ok, summary.failed, summary.steps) == (20, 8, 2, 25)
    assert not summary.complete
    summary = summary.plus(Receipt(1, Tally(10, 10), committed=False), 10)
    assert summary.complete and (summary.ok, summary.failed, summary.already) == (18, 2, 10)


def test_receipts_add_up() -> None:
    one = Receipt(7, TALLY, 1000)
    other = Tally(2, 1, 4, 0, {"editor_failed": 1}, {"max_steps": 1}, Usage.of(io=1.0))
    both = one + Receipt(8, other, 10, restarts=1)
    errors, stops = {"editor_failed": 3}, {"policy_stop": 8, "max_steps": 1}
    seconds = Usage.of(editor=1.5, io=1.0)
    assert both == Receipt(-1, Tally(12, 9, 29, 3, errors, stops, seconds), 1010, restarts=1)
    assert both.tally - other == TALLY


def test_pulses_tell_what_is_in_flight(tmp_path: Path) -> None:
    slow = {"policy": {"type": "simulated"}, "editor": {"type": "simulated", "service": {"seconds": 0.3}}}
    config, where, shards = planned(tmp_path, records=16, **slow)
    statuses: list[WorkerStatus] = []
    worker = open_worker(config, where, "a1", on_heartbeat=statuses.append)
    try:
        for shard in shards:
            worker(shard)
    finally:
        worker.close()
    assert statuses and any(status.in_flight for status in statuses)
    assert [p.steps for p in statuses] == sorted(p.steps for p in statuses)


def test_run_json_says_what_ran(tmp_path: Path) -> None:
    config, where, _ = planned(tmp_path)
    about = json.loads(Path(where, "run.json").read_text())
    assert about["config"]["input"]["manifest"] == config.input.manifest
    assert {"python", "ray", "pyarrow", "pillow"} <= about["versions"].keys()
    assert about["manifest"][0]["path"] == config.input.manifest


def test_it_gives_back_free_memory_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = threading.Event()
    monkeypatch.setattr(worker_module, "_HEARTBEAT", 0.01)
    monkeypatch.setattr(worker_module, "_TIDYING", 0.02)
    monkeypatch.setattr(worker_module, "give_back_memory", given.set)
    config, where, _ = planned(tmp_path, records=1, **SIMULATED)
    worker = open_worker(config, where, "a1", on_heartbeat=lambda status: False)
    try:
        assert given.wait(30)
    finally:
        worker.close()


def test_a_heartbeat_that_nobody_answers_does_not_keep_the_process(tmp_path: Path) -> None:
    """As when Ray is gone: the process is told to end, and what waits for an answer waits for ever."""
    _, where, _ = planned(tmp_path, records=4)
    code = f"""
import threading
from mira_batch import load_config
from tests.support.runs.edits import open_worker
beats, beating, never = [], threading.Event(), threading.Event()

def heartbeat(status):
    beats.append(status)
    if len(beats) > 1:
        beating.set()
        never.wait()
    return False

worker = open_worker(load_config({str(Path(where) / "run.json")!r}), {where!r}, "a1", on_heartbeat=heartbeat)
assert beating.wait(20)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=40)
