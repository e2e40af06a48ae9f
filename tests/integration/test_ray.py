"""What only Ray can show: the pool grows, a dead worker is replaced, an error arrives as it was raised."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray

from mira_batch import load_config, run
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import ConfigError, UserError
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
from mira_batch.runtime.backends import handing
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.storage.stores.objects import open_store
from tests.support.models.counted import counted, read_edits
from tests.support.models.odd import odd
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import until
from tests.support.runs.edits import verify_edits

pytestmark = pytest.mark.ray
SLOW = {
    "backend": "ray",
    "policy": {"type": "simulated"},
    "editor": {"type": "simulated", "service": {"seconds": 0.3}, "max_batch": 2},
}


class Watch(Progress):
    """Notes how many workers live and the most shards that one has in hand, and kills one of them once when
    told to."""

    def __init__(self, kill: bool = False) -> None:
        self.workers: list[int] = []
        self.shards = 0
        self.busy = set[str]()
        """Workers that had records in hand."""
        self.killed = 0
        self._kill = kill

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        self.workers.append(len(statuses))
        self.shards = max(self.shards, *(status.shards for status in statuses), 0)
        self.busy |= {status.worker for status in statuses if status.in_flight}

    def committed(self, summary: RunSummary) -> None:
        if self._kill and not self.killed:
            self.killed = find_workers()[0]
            os.kill(self.killed, signal.SIGKILL)


def find_workers() -> list[int]:
    """The processes of workers."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "ShardActor" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


@pytest.mark.soak
def test_the_pool_grows_to_its_maximum(tmp_path: Path) -> None:
    workers = {"min": 1, "max": 2, "records_in_flight": 4, "shard_size": 2}
    manifest = make_catalogue(tmp_path / "catalogue", 80)
    watch = Watch()
    summary = run(load_config(settings(manifest, tmp_path / "out", workers=workers, **SLOW)), watch)
    assert summary.complete and max(watch.workers) == 2


def test_the_last_shards_still_fill_the_batches(tmp_path: Path) -> None:
    """They have a record each, so four of them, which are enough of large ones, would be four records."""
    workers = {"min": 2, "records_in_flight": 16, "shard_size": 8, "cpus": 0.5}
    slow = {"editor": {"type": "simulated", "service": {"seconds": 0.5}, "max_batch": 4}}
    manifest = make_catalogue(tmp_path / "catalogue", 60)
    watch = Watch()
    summary = run(load_config(settings(manifest, tmp_path / "out", workers=workers, **SLOW | slow)), watch)
    assert summary.complete
    assert watch.shards > 4


def test_the_first_to_be_open_leaves_the_others_their_share(tmp_path: Path) -> None:
    """Each could run all of these records at once."""
    workers = {"min": 2, "records_in_flight": 64, "cpus": 0.5}
    models = {
        "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
        "editor": {"type": "simulated", "service": {"seconds": 0.5}, "max_batch": 1},
    }
    manifest = make_catalogue(tmp_path / "catalogue", 16)
    watch = Watch()
    assert run(
        load_config(settings(manifest, tmp_path / "out", workers=workers, **SLOW | models)), watch
    ).complete
    assert len(watch.busy) == 2


class WatchEnd(Watch):
    """Notes the most records that a worker had in hand when no more than so many were left."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self._left = left
        self._committed = 0
        self.most = 0

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        super().heartbeat(statuses)
        for status in statuses:
            ended = self._committed + status.ended.records
            if ended >= self._left:
                self.most = max(self.most, len(status.in_flight))

    def committed(self, summary: RunSummary) -> None:
        self._committed = summary.committed


def test_nothing_is_left_to_workers_that_the_cluster_has_no_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the last records of the workers that there are fill no batch."""
    monkeypatch.setattr(handing, "_SOON", 0.0)
    workers = {"min": 1, "max": 8, "records_in_flight": 16, "shard_size": 8}
    models = {
        "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
        "editor": {"type": "simulated", "service": {"seconds": 0.5}, "max_batch": 8},
    }
    manifest = make_catalogue(tmp_path / "catalogue", 96)
    watch = WatchEnd(left=64)
    given = settings(manifest, tmp_path / "out", workers=workers, **SLOW | models)
    ray.init(address="local", num_cpus=1, include_dashboard=False)
    try:
        assert run(load_config(given), watch).complete
    finally:
        ray.shutdown()
    assert len(watch.busy) == 1 and watch.most > 8


@pytest.mark.soak
def test_a_killed_worker_is_replaced_and_its_steps_are_kept(tmp_path: Path) -> None:
    workers = {"min": 1, "max": 1, "records_in_flight": 8, "shard_size": 8}
    manifest = make_catalogue(tmp_path / "catalogue", 40)
    watch = Watch(kill=True)
    summary = run(load_config(settings(manifest, tmp_path / "out", workers=workers, **SLOW)), watch)
    assert watch.killed and summary.complete and summary.resumed_steps > 0
    assert verify_edits(open_store(summary.run, load_config(settings("m", "o")).storage)).whole


def test_an_error_in_a_worker_arrives_as_it_was_raised(tmp_path: Path) -> None:
    factory = "tests.contract.custom_models:make_policy"
    broken = {"type": "custom", "factory": factory, "options": {"no_such_option": 1}}
    manifest = make_catalogue(tmp_path / "catalogue", 8)
    config = load_config(settings(manifest, tmp_path / "out", **(SLOW | {"policy": broken})))
    with pytest.raises(ConfigError, match="tests.contract.custom_models"):
        run(config)


def test_a_job_that_cant_be_opened_is_found_by_the_first_worker(tmp_path: Path) -> None:
    """Else a cluster would bring up all of its GPU nodes to say so."""
    workers = {"min": 1, "max": 3, "records_in_flight": 2, "shard_size": 1}
    manifest = make_catalogue(tmp_path / "catalogue", 24)
    broken = odd("make_nothing", way="base")
    config = load_config(settings(manifest, tmp_path / "out", backend="ray", workers=workers, **broken))
    seen, over = set[int](), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.update(find_workers())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with pytest.raises(UserError, match="odd:make_nothing"):
            run(config)
    finally:
        over.set()
        looking.join()
    assert len(seen) == 1


def test_a_worker_without_work_is_let_go_while_another_has_some(tmp_path: Path) -> None:
    log, hold = tmp_path / "edits.log", tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-00003").touch()
    workers = {"min": 2, "max": 2, "records_in_flight": 4, "shard_size": 2}
    manifest = make_catalogue(tmp_path / "catalogue", 16)
    models = {"policy": {"type": "simulated"}, "editor": counted(log, hold=hold, max_batch=1)}
    config = load_config(settings(manifest, tmp_path / "out", backend="ray", workers=workers, **models))
    summaries: list[RunSummary] = []
    thread = threading.Thread(target=lambda: summaries.append(run(config)))
    thread.start()
    try:
        until(lambda: len(find_workers()) == 2)
        until(lambda: len(find_workers()) == 1)
        held = read_edits(log)
    finally:
        (hold / "rec-00003").unlink()
        thread.join(120)
    assert len({record for record, _ in held.ended}) >= 8, "the other one had done its part"
    assert summaries and summaries[0].complete


def test_a_worker_that_no_node_had_room_for_is_not_missed(tmp_path: Path) -> None:
    """It waits while the other does all the work, and is let go before it ever ran."""
    cpus = os.cpu_count() or 1
    workers = {"min": 1, "max": 2, "cpus": cpus, "records_in_flight": 4, "shard_size": 2}
    manifest = make_catalogue(tmp_path / "catalogue", 24)
    quick = {"policy": {"type": "simulated"}, "editor": {"type": "simulated"}}
    config = load_config(settings(manifest, tmp_path / "out", backend="ray", workers=workers, **quick))
    with ray_session(WorkersConfig(max=1)):
        assert run(config).complete
