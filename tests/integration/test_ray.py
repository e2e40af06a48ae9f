"""What only Ray can show: the pool grows, a dead worker is replaced, an error arrives as it was raised."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from mira_batch import load_config, run
from mira_batch.core.errors import ConfigError
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits

pytestmark = pytest.mark.ray
SLOW = {
    "backend": "ray",
    "policy": {"type": "simulated"},
    "editor": {"type": "simulated", "service": {"seconds": 0.3}, "max_batch": 2},
}


class Watch(Progress):
    """Notes how many workers live, and kills one of them once when told to."""

    def __init__(self, kill: bool = False) -> None:
        self.workers: list[int] = []
        self.killed = 0
        self._kill = kill

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        self.workers.append(len(statuses))

    def committed(self, summary: RunSummary) -> None:
        if self._kill and not self.killed:
            for process in psutil.Process().children(recursive=True):
                if "ShardActor" in " ".join(process.cmdline()):
                    self.killed = process.pid
                    os.kill(process.pid, signal.SIGKILL)
                    break


@pytest.mark.soak
def test_the_pool_grows_to_its_maximum(tmp_path: Path) -> None:
    workers = {"min": 1, "max": 2, "records_in_flight": 4, "shard_size": 2}
    manifest = make_catalogue(tmp_path / "catalogue", 80)
    watch = Watch()
    summary = run(load_config(settings(manifest, tmp_path / "out", workers=workers, **SLOW)), watch)
    assert summary.complete and max(watch.workers) == 2


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
