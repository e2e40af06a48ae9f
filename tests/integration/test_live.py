"""What is seen of a run from outside while it is at work."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
import ray

from mira_batch import load_config, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.receipts import Activity, Receipt, RunSummary, Tally, WorkerStatus
from mira_batch.core.usage import Usage
from mira_batch.runtime import live
from mira_batch.runtime.backends.metrics import RayMetrics
from mira_batch.runtime.live import LiveWriter, read_live
from mira_batch.storage.stores import open_store
from tests.support import ROOT
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, config_file, until
from tests.support.runs.drivers import Begin, drivers

RECORDS = 12
METRIC = re.compile(r"\bray_mira_\w+")


@pytest.fixture
def begin() -> object:
    with drivers() as begin:
        yield begin


def test_a_run_is_watched_from_outside(tmp_path: Path, begin: Begin) -> None:
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-00003").touch()
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    editor = counted(tmp_path / "edits.log", hold=hold, max_batch=1)
    config_file(tmp_path, settings(manifest, tmp_path / "out", editor=editor, policy={"type": "simulated"}))
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda _: list((tmp_path / "out").glob("*/live.json")))
    (where,) = (path.parent for path in (tmp_path / "out").glob("*/live.json"))
    watcher = begin(*CLI, "status", where, "--watch")
    watcher.await_moment(lambda watcher: "records, " in watcher.read())
    state = read_live(open_store(str(where), StorageConfig()))
    assert state is not None and state.planned == RECORDS
    assert "rec-00003" in {record["record_id"] for worker in state.workers for record in worker["records"]}
    (hold / "rec-00003").unlink()
    assert driver.end() and driver.process.returncode == 0
    said = watcher.end()
    assert watcher.process.returncode == 0 and f"{RECORDS} of {RECORDS} committed" in said, said
    assert not (where / "live.json").exists()


def test_a_state_has_what_workers_are_doing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    summary = RunSummary("out/night", "night", planned=100, committed=40, already=20)
    flights = {f"r{i}": Activity(i, "editor", float(i)) for i in range(12)}
    worker = WorkerStatus(
        ended=Tally(records=5, ok=3, errors={"editor_failed": 2}), in_flight=flights, worker="w"
    )
    assert read_live(store) is None
    with LiveWriter(store, every=0.05) as writer:
        writer.executing(summary)
        writer.heartbeat([worker])
        writer.note("a word")
        until(lambda: (state := read_live(store)) is not None and state.workers and state.note)
        state = read_live(store)
        assert state is not None
        assert (state.done, state.ok, state.errors, state.note) == (45, 3, {"editor_failed": 2}, "a word")
        (told,) = state.workers
        assert told["in_flight"] == 12 and [r["record_id"] for r in told["records"]][:2] == ["r11", "r10"]
        assert len(told["records"]) == 8 and state.rate > 0 and state.eta is not None
    assert read_live(store) is None


def test_a_clock_that_is_set_back_changes_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SetBack(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> SetBack:
            return cls(2001, 1, 1, tzinfo=tz)

    store = open_store(str(tmp_path), StorageConfig())
    with LiveWriter(store, every=0.05) as writer:
        monkeypatch.setattr(live, "datetime", SetBack)
        writer.executing(RunSummary("out/night", "night", planned=100, committed=40))
        until(lambda: read_live(store) is not None)
        state = read_live(store)
    assert state is not None and state.at.startswith("2001") and state.eta is not None
    assert 0 < state.seconds < 90


@pytest.mark.soak
@pytest.mark.ray
def test_metrics_are_exported_and_every_query_of_ours_names_one(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-00011").touch()
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[2]["image"] = "images/gone.png"
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    log = tmp_path / "edits.log"
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="ray",
            policy={"type": "simulated"},
            editor=counted(log, hold=hold, max_batch=1),
            workers={"min": 1, "max": 1, "records_in_flight": 4, "shard_size": 2},
            prices={"gpu_hour": 1.0},
        )
    )
    thread = threading.Thread(target=run, args=(config,))
    # A Ray that is there, as a cluster is: one that a run starts for itself has no metrics.
    ray.init(address="local", num_cpus=3, include_dashboard=False)
    thread.start()
    try:
        until(lambda: log.exists() and read_edits(log).ended.total() > 5)
        ports = [node["MetricsExportPort"] for node in ray.nodes()]
        said = ""

        def look() -> bool:
            nonlocal said
            for port in ports:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                    said += answer.read().decode()
            found = {"ray_mira_failures_total", "ray_mira_editor_busy", "ray_mira_oom_total"}
            return found <= set(METRIC.findall(said))

        another = RayMetrics("another")  # to which happens what does not happen here
        another.heartbeat([WorkerStatus(out_of_memory=1, worker="w")])
        another.committed(RunSummary("out/another", "another"))
        charged = Receipt(tally=Tally(usage=Usage(cost=0.5, retries=2)))
        another.committed(RunSummary("out/another", "another", total=charged))
        until(look)
    finally:
        (hold / "rec-00011").unlink()
        thread.join(120)
        ray.shutdown()
    found = set(METRIC.findall(said))
    asked = set(METRIC.findall((ROOT / "infra" / "grafana-dashboard.json").read_text()))
    asked |= set(METRIC.findall((ROOT / "infra" / "alerts.yaml").read_text()))
    assert asked and asked <= found
