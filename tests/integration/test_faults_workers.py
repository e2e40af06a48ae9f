"""Workers and nodes that die: nothing is lost, and little is done twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from mira_batch import load_config, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.backends.cluster import ray_session
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import Notes, assert_whole, left_alone, results, until

pytestmark = [pytest.mark.ray, pytest.mark.faults]
IN_FLIGHT = 4
TWO = {"min": 2, "max": 2, "records_in_flight": IN_FLIGHT, "shard_size": 2}


def a_config(tmp_path: Path, records: int, seconds: float, **more: Any) -> tuple[BulkEditConfig, Path]:
    """A job with short edits, and the log of its editor; `tmp_path / "hold"` keeps edits from ending."""
    log = tmp_path / "edits.log"
    editor = counted(log, seconds, hold=tmp_path / "hold")
    base = {"backend": "ray", "workers": TWO, "policy": {"type": "simulated"}, "editor": editor}
    manifest = make_catalogue(tmp_path / "catalogue", records)
    return load_config(settings(manifest, tmp_path / "out", **(base | more))), log


class Killer(Progress):
    """Kills workers at random moments, each in the middle of an edit.

    A record whose process dies twice while it runs alone is blamed for it, so no record is hit twice: a
    killer from outside that did would not be told from a record that kills.
    """

    def __init__(self, log: Path, times: int, seed: int) -> None:
        self.killed: list[int] = []
        self._log = log
        self._times = times
        self._random = random.Random(seed)
        self._hit: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._kill_them)

    def executing(self, summary: RunSummary) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _kill_them(self) -> None:
        while len(self.killed) < self._times and not self._ended.wait(self._random.uniform(0.1, 2.0)):
            while not self._ended.wait(0.02) and not self._kill_one():
                pass

    def _kill_one(self) -> bool:
        at_work = read_edits(self._log).open
        for process in self._random.sample(sorted(at_work), len(at_work)):
            records = {record for record, _ in at_work[process]}
            if records and not records & self._hit and process not in self.killed:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    self.killed.append(process)
                    self._hit |= records
                    return True
        return False


@pytest.mark.parametrize(("times", "records"), [(3, 30), pytest.param(10, 80, marks=pytest.mark.soak)])
def test_killed_workers_cost_at_most_the_steps_they_were_at(tmp_path: Path, times: int, records: int) -> None:
    config, log = a_config(tmp_path, records, seconds=0.15)
    expected = left_alone(config, tmp_path / "alone", log)
    killer = Killer(log, times, seed=20261121)
    with ray_session(WorkersConfig(max=2)):
        try:
            summary = run(config, killer)
        finally:
            killer.end()
    assert_whole(summary.run, config, records)
    assert results(summary.run) == expected
    edits = read_edits(log)
    per_kill = [edits.lost[process] for process in killer.killed]
    print(f"{edits.repeated} of {summary.steps} steps repeated by {times} kills: {per_kill}")
    assert len(killer.killed) == times and len(edits.pids) == times + 2
    assert sum(per_kill) == edits.repeated, "only what a killed worker was at is done again"
    assert max(per_kill) <= IN_FLIGHT
    if times == 10:  # three may each hit records at their first step
        assert summary.resumed_steps > 0


# A cluster of several nodes on this machine


class Breaker(Progress):
    """Loses two nodes one after the other, each with a worker in the middle of an edit."""

    def __init__(self, cluster: Any, nodes: list[Any], log: Path, hold: Path) -> None:
        self.lost: list[int] = []
        self._cluster = cluster
        self._node_of = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
        self._log = log
        self._hold = hold
        self._first: set[int] = set()

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        at_work = read_edits(self._log).open
        busy = [worker for worker, edits in at_work.items() if edits]
        if len(at_work) == 2 and not self.lost and busy:
            self._first = set(at_work)
            self._lose(busy[0])
        elif len(at_work) == 3 and len(self.lost) == 1:  # the first one's follower is at work
            (other,) = self._first - set(self.lost)
            if other in busy:
                self._lose(other)
                for held in self._hold.iterdir():
                    held.unlink()

    def _lose(self, worker: int) -> None:
        self.lost.append(worker)
        self._cluster.remove_node(self._node_of[psutil.Process(worker).ppid()], allow_graceful=False)


@pytest.mark.soak
@pytest.mark.parametrize("nodes", [3], indirect=True)
def test_a_lost_node_costs_at_most_the_steps_it_was_at(
    tmp_path: Path, cluster: Any, nodes: list[Any]
) -> None:
    """First another node has room for a new worker. Then none has: the worker that remains does the rest,
    and makes room in the end for the one that is to take up what the lost one had in hand."""
    records, hold = 48, tmp_path / "hold"
    config, log = a_config(tmp_path, records, seconds=0.15)
    expected = left_alone(config, tmp_path / "alone", log)
    hold.mkdir()
    for index in range(40, records):  # so that work is left when the first one's follower comes
        (hold / f"rec-{index:05d}").touch()
    breaker = Breaker(cluster, nodes, log, hold)
    summary = run(config, breaker)
    assert_whole(summary.run, config, records)
    assert results(summary.run) == expected
    edits = read_edits(log)
    per_node = [edits.lost[worker] for worker in breaker.lost]
    print(f"{edits.repeated} of {summary.steps} steps repeated by 2 lost nodes: {per_node}")
    assert len(breaker.lost) == 2 and len(edits.pids) == 4
    assert sum(per_node) == edits.repeated and max(per_node) <= IN_FLIGHT
    assert summary.resumed_steps > 0 and summary.restarts == 0, "no record of a lost node is suspected"


class Impatient(Notes):
    """Stops a run that says these words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.stop = StopRequest()
        self._words = words

    def note(self, text: str) -> None:
        super().note(text)
        if self._words in text:
            self.stop.ask(RunEnd.interrupted, "that will do")


@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_a_pool_that_no_node_has_room_for_is_named_and_can_be_stopped(
    tmp_path: Path, nodes: list[Any]
) -> None:
    """The cluster has two CPUs, but on no node both: Ray waits for a node to come."""
    pool = TWO | {"min": 1, "max": 1, "cpus": 2}
    config, log = a_config(tmp_path, 4, seconds=0.0, workers=pool, limits={"stall_seconds": 1.0})
    watch = Impatient("no worker is there; each needs 2 CPU and 0 GPU")
    with pytest.raises(RunStopped, match="0 of 4 records are committed"):
        run(config, watch, watch.stop)
    assert not log.exists() and not threads_of_ours()
    assert run(config.model_copy(update={"backend": "inline"})).complete


@pytest.mark.soak
@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_a_run_that_ends_before_its_first_result_leaves_no_worker_behind(
    tmp_path: Path, nodes: list[Any]
) -> None:
    """It stalls, says at what, and is stopped. A worker that stayed would keep its GPU from others."""
    pool, hold = TWO | {"min": 1, "max": 1}, tmp_path / "hold"
    hold.mkdir()
    for index in range(4):
        (hold / f"rec-{index:05d}").touch()
    limits = {"grace_seconds": 1.0, "stall_seconds": 2.0}
    config, log = a_config(tmp_path, 4, seconds=0.0, workers=pool, limits=limits)
    watch = Impatient("at step 0 (editor) for")
    with pytest.raises(RunStopped, match="0 of 4 records are committed"):
        run(config, watch, watch.stop)
    assert "in flight on 1 workers are" in "".join(watch.notes)
    (worker,) = read_edits(log).pids
    until(lambda: not psutil.pid_exists(worker), seconds=30)
    assert not threads_of_ours()


def threads_of_ours() -> list[str]:
    """Threads of the backend that have not ended: with Ray gone, they would look for another."""
    names = ("receipts", "board", "StreamingExecutor")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]
