"""Who counts as silent, what is said of processes that died, and when a heartbeat is one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mira_batch import load_config
from mira_batch.config.inspect import InspectConfig
from mira_batch.core.receipts import WorkerStatus
from mira_batch.runtime.backends.listener import SilenceWatch, find_patience
from mira_batch.runtime.backends.processes import (
    LAST_WORDS,
    WorkerProcess,
    count_oom_kills,
    describe_exit,
    shorten_note,
)
from mira_batch.runtime.loss import Loss
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import until
from tests.support.runs.edits import open_worker, plan_edits

ONE, OTHER = (WorkerProcess(name, "node", 1, "host") for name in ("one", "other"))


def test_silence_is_counted_from_look_to_look() -> None:
    watch = SilenceWatch()
    watch.look({ONE: None, OTHER: None}, 100.0)
    watch.look({ONE: None}, 101.0)
    watch.look({ONE: None}, 102.5)
    assert watch.silent == {ONE: 0.0, OTHER: 2.5}
    watch.look({OTHER: None}, 103.5)
    assert watch.silent == {ONE: 1.0, OTHER: 0.0}


def test_who_was_kept_from_looking_takes_nobody_for_silent() -> None:
    """The driver was stopped for an hour, or the board for as long: that tells nothing of the workers."""
    watch = SilenceWatch()
    watch.look({ONE: None}, 100.0)
    watch.look({}, 3700.0)
    assert watch.silent[ONE] <= 5.0


def test_who_was_never_heard_of_is_not_silent() -> None:
    watch = SilenceWatch()
    for second in range(1000):
        watch.look({}, float(second))
    assert watch.silent == {}


def test_patience_follows_from_the_limits_of_the_calls() -> None:
    limits = {"edit_seconds": 20.0, "policy_seconds": 50.0}
    config = load_config(settings("m.jsonl", "out", limits=limits))
    assert config.limits.longest_call == 50.0
    judge = load_config(settings("m.jsonl", "out", limits=limits | {"judge_seconds": 80.0}))
    assert judge.limits.longest_call == 80.0
    other = InspectConfig.model_validate({"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}})
    assert other.limits.longest_call == 900.0
    for seconds in (1.0, 80.0, 900.0):
        assert find_patience(seconds) > seconds + 5, "the worker's own clock, which knows more, comes first"


GUESSES = "Worker unexpectedly exits with a connection error code 2. Some common causes include: OOM, …"


@pytest.mark.parametrize(
    ("exit_type", "detail", "log", "words"),
    [
        ("SYSTEM_ERROR", "Worker exits with an exit code 4.", "", "exited with code 4"),
        ("SYSTEM_ERROR", "exit code 1. The process receives a SIGTERM.", "", "ended from outside by SIGTERM"),
        ("SYSTEM_ERROR", GUESSES, "*** SIGSEGV received at time=1 on cpu 1 ***\n", "crashed with SIGSEGV"),
        ("SYSTEM_ERROR", GUESSES, f"x\n{LAST_WORDS}CUDA error: 700\nmore", "CUDA error: 700"),
        ("SYSTEM_ERROR", GUESSES, "", "killed from outside"),
        ("NODE_OUT_OF_MEMORY", "…", "", "the node was about to run out of memory"),
        ("USER_ERROR", "Something new", "", "Something new"),
    ],
)
def test_an_end_is_told_as_far_as_it_is_known(exit_type: str, detail: str, log: str, words: str) -> None:
    told = describe_exit(exit_type, detail, log)
    assert words in told and "common causes" not in told


def test_the_kernels_oom_killer_is_named_where_it_struck_and_nothing_else_is_known() -> None:
    assert count_oom_kills() >= 0
    assert "OOM killer struck" in describe_exit("SYSTEM_ERROR", GUESSES, "", starved=True)
    crashed = describe_exit("SYSTEM_ERROR", GUESSES, "*** SIGSEGV received at time=1", starved=True)
    assert crashed == "it crashed with SIGSEGV"


def test_a_dead_worker_is_one_line() -> None:
    """Two kinds of lines as Ray 2.60 writes them."""
    retry = (
        "Task ShardActor.run failed. There are infinite retries remaining, so the task will "
        "be retried. Error: The actor is temporarily unavailable: RpcError: Socket closed rpc_code: 14"
    )
    death = (
        "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot "
        "the problem, check the logs for the dead worker. Lease ID: 0600 Worker ID: 0bb7 Node ID: 5750 "
        "Worker IP address: 127.0.0.1 Worker port: 34131 Worker PID: 6147 Worker exit type: SYSTEM_ERROR "
        f"Worker exit detail: {GUESSES}"
    )
    assert shorten_note(retry) is None
    alone = {"5750": Loss.process}.__getitem__
    note = shorten_note(death, alone)
    assert note is not None and note.startswith("worker process 6147 died: it was killed from outside")
    assert shorten_note("something else") == "something else"
    assert shorten_note(death, {"5750": Loss.preempted}.__getitem__) is None, "it left its node"


def test_a_dead_node_is_one_line() -> None:
    line = (
        "The node with node id: 24c4a6 and address: 10.0.0.7 and node name: 10.0.0.7 has been marked dead "
        "because the detector has missed too many heartbeats from it. This can happen when a \t(1) raylet "
        "crashes unexpectedly (OOM, etc.) \n\t(2) raylet has lagging heartbeats due to slow network."
    )
    told = "node 10.0.0.7 died or can't be reached; what its workers had in hand goes on elsewhere"
    assert shorten_note(line) == told


def test_a_heartbeat_says_that_the_event_loop_turns(tmp_path: Path) -> None:
    """A worker whose loop is blocked is as good as hung, though its other threads run."""
    config = load_config(settings(make_catalogue(tmp_path / "catalogue", 2), tmp_path / "out"))
    where = plan_edits(config).run
    beats: list[WorkerStatus] = []
    worker = open_worker(config, where, "a1", on_heartbeat=beats.append)
    try:
        until(lambda: len(beats) > 1)
        worker._loop.call_soon_threadsafe(time.sleep, 3.0)
        time.sleep(0.2)
        before = len(beats)
        time.sleep(2.5)
        assert len(beats) <= before + 1, "one may have been under way"
        until(lambda: len(beats) > before + 1)
    finally:
        worker.close()


def test_a_heartbeat_that_fails_is_not_the_last(tmp_path: Path) -> None:
    config = load_config(settings(make_catalogue(tmp_path / "catalogue", 2), tmp_path / "out"))
    where, beats = plan_edits(config).run, 0

    def heartbeat(_: WorkerStatus) -> bool:
        nonlocal beats
        beats += 1
        if beats == 2:
            raise RuntimeError("the board has gone mad")
        return False

    worker = open_worker(config, where, "a1", on_heartbeat=heartbeat)
    try:
        until(lambda: beats > 2)
    finally:
        worker.close()
