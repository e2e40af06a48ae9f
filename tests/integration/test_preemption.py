"""Nodes that are taken away: their workers hand back what they have in hand, and no record is suspected."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from mira_batch import load_config, run
from mira_batch.core.receipts import RunSummary, WorkerStatus
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import Notes, assert_whole, left_alone, results

pytestmark = [pytest.mark.ray, pytest.mark.faults]
IN_FLIGHT = 4
TWO = {"min": 2, "max": 2, "records_in_flight": IN_FLIGHT, "shard_size": 4}
GRACE = 30


class SpotMarket(Notes):
    """Takes one node after the other away and gives another for it, each while its worker is at an edit.

    Some drains are cut off: their node is gone as soon as the driver has told people of it.
    """

    def __init__(
        self, cluster: Any, nodes: list[Any], log: Path, slow: Path, cut_off: Sequence[bool]
    ) -> None:
        super().__init__()
        self.drained: dict[int, bool] = {}
        """The workers that were on a drained node, and whether they were cut off."""
        self._cluster = cluster
        self._nodes = list(nodes)
        self._log = log
        self._slow = slow
        self._cut_off = list(cut_off)
        self._doomed: list[int] = []

    def note(self, text: str) -> None:
        super().note(text)
        if "is being drained" in text:
            for process in self._doomed:
                os.kill(process, signal.SIGKILL)

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        node_of = {node.all_processes["raylet"][0].process.pid: node for node in self._nodes}
        for worker, edits in read_edits(self._log).open.items():
            if worker in self.drained or not edits or not self._cut_off:
                continue
            raylet = psutil.Process(worker).ppid() if psutil.pid_exists(worker) else 0
            if node_of.get(raylet) is self._nodes[0]:
                self._take_away(worker, raylet)
                break
        if not self._cut_off:
            self._slow.unlink(missing_ok=True)

    def _take_away(self, worker: int, raylet: int) -> None:
        self.drained[worker] = cut_off = self._cut_off.pop(0)
        node = self._nodes.pop(0)
        self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=100_000_000))
        self._doomed = [raylet, worker] if cut_off else []
        drain(self._cluster, node)


def drain(cluster: Any, node: Any) -> None:
    """What `ray drain-node` does, and `ray start --block` when it hears SIGTERM."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    why: Any = autoscaler_pb2.DrainNodeReason  # pyright: ignore[reportAttributeAccessIssue]
    until = int((time.time() + GRACE) * 1000)
    accepted, _ = GcsClient(address=cluster.address).drain_node(
        node.node_id, why.Value("DRAIN_NODE_REASON_PREEMPTION"), "a test", until
    )
    assert accepted


@pytest.mark.parametrize("times", [3, pytest.param(9, marks=pytest.mark.soak)])
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_drained_nodes_cost_nothing_but_the_steps_that_were_cut_off(
    tmp_path: Path, cluster: Any, nodes: list[Any], times: int
) -> None:
    records = 16 * (times + 1)
    log, hold = tmp_path / "edits.log", tmp_path / "hold"
    editor = counted(log, 0.05, hold=hold, slow=1.0)
    base = {"backend": "ray", "workers": TWO, "policy": {"type": "simulated"}, "editor": editor}
    config = load_config(settings(make_catalogue(tmp_path / "catalogue", records), tmp_path / "out", **base))
    expected = left_alone(config, tmp_path / "alone", log)
    hold.mkdir()
    (hold / "slow").touch()  # so that work is left until the last node is gone
    market = SpotMarket(
        cluster, nodes, log, hold / "slow", cut_off=[False, False, True] * (times // 3) + [False]
    )
    summary: RunSummary = run(config, market)
    print(*market.notes, sep="\n")
    assert_whole(summary.run, config, records)
    assert results(summary.run) == expected
    edits = read_edits(log)
    redone = {worker: edits.lost[worker] for worker in market.drained}
    print(f"{edits.repeated} of {summary.steps} steps repeated by {times + 1} drains: {redone}")
    assert len(market.drained) == times + 1
    assert summary.restarts == 0, "all shards go on side by side"
    assert "worker_crash" not in summary.errors and summary.resumed_steps > 0
    assert all(steps <= (IN_FLIGHT if market.drained[worker] else 0) for worker, steps in redone.items())
    assert sum(redone.values()) == edits.repeated
    over = [note for note in market.notes if "was drained" in note]
    assert len(over) == times + 1 and sum("died first" in note for note in over) == times // 3
