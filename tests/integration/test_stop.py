"""Runs that end before their records did: by a signal, a deadline, too many failures. And runs that stall.

Steps in hand are finished and logged, so that the next call makes none of them again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mira_batch import load_config, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import Progress, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.runtime.lease import read_claim
from mira_batch.storage.run.planfile import read_plan
from mira_batch.storage.stores.objects import open_store
from tests.support.models.counted import Edits, counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import (
    CLI,
    Notes,
    Results,
    assert_whole,
    config_file,
    heard,
    left_alone,
    results,
    start,
    until,
)
from tests.support.runs.edits import open_worker, plan_edits

pytestmark = pytest.mark.faults
RECORDS = 20
IN_FLIGHT = 4
HELD = "rec-00004"
"""The record whose edit a test keeps from ending."""
LATE = "rec-00015"
"""Another; by the time it begins, the first shard is as good as committed."""


@dataclass(frozen=True)
class Job:
    """A run for the command line, and what it would give if nothing happened."""

    file: Path
    config: BulkEditConfig
    log: Path
    hold: Path
    expected: Results

    @property
    def where(self) -> str:
        return f"{self.config.output.uri}/run"

    @property
    def edits(self) -> Edits:
        return read_edits(self.log)

    @property
    def committed(self) -> int:
        return len(list(Path(self.where, "results").glob("part-*.parquet")))

    def finish(self) -> Edits:
        """Go on to the end, in this process; what was edited in all."""
        summary = run(self.config.model_copy(update={"backend": "inline"}))
        assert summary.complete
        assert_whole(self.where, self.config, RECORDS)
        assert results(self.where) == self.expected
        edits = self.edits
        print(f"{edits.repeated} of {sum(edits.ended.values())} steps repeated")
        return edits


@pytest.fixture
def job(tmp_path: Path) -> Job:
    log, hold = tmp_path / "edits.log", tmp_path / "hold"
    steps = {"exact": {HELD: 4, "*": 2}}
    base = settings(
        make_catalogue(tmp_path / "catalogue", RECORDS),
        tmp_path / "out",
        run_id="run",
        policy={"type": "simulated", "steps": steps},
        editor=counted(log, 0.1, max_batch=1, hold=hold),
        workers={"min": 1, "max": 1, "records_in_flight": IN_FLIGHT, "shard_size": 2},
    )
    file, config = config_file(tmp_path, base)
    plan_edits(config)  # here, since planning is not what is tested and takes Ray a while
    expected = left_alone(config, tmp_path / "alone", log)
    hold.mkdir()
    return Job(file, config, log, hold, expected)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that must not outlive the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def begin(
    job: Job, started: list[subprocess.Popen[str]], *sets: str, group: bool = False
) -> subprocess.Popen[str]:
    process = start(job.file, *(part for text in sets for part in ("--set", text)), group=group)
    started.append(process)
    return process


def end(process: subprocess.Popen[str], seconds: float = 60) -> str:
    return process.communicate(timeout=seconds)[0]


# Told to end


@pytest.mark.parametrize(
    ("backend", "number"),
    [
        ("inline", signal.SIGINT),
        pytest.param("inline", signal.SIGTERM, marks=pytest.mark.soak),
        pytest.param("ray", signal.SIGINT, marks=[pytest.mark.ray, pytest.mark.soak]),
        pytest.param("ray", signal.SIGTERM, marks=pytest.mark.ray),
    ],
)
def test_a_signal_ends_a_run_in_order_and_no_step_is_made_twice(
    job: Job, started: list[subprocess.Popen[str]], backend: str, number: signal.Signals
) -> None:
    """It goes to the whole process group, as a terminal's Ctrl-C does and what `timeout` sends."""
    process = begin(job, started, f"backend={backend}", group=True)
    until(lambda: job.committed >= 2 or process.poll() is not None)
    os.killpg(process.pid, number)
    words = end(process)
    assert process.returncode == 130, words
    assert f"interrupted: {number.name} received; nothing is lost: " in words
    assert "the same command goes on" in words and "Traceback" not in words
    edits = job.edits
    assert edits.begun == edits.ended, "the steps in hand were finished"
    assert sum(edits.ended.values()) < 2 * RECORDS + 2
    assert read_claim(open_store(job.where, job.config.storage)) is None
    assert job.finish().repeated == 0


@pytest.mark.parametrize(
    "backend", ["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.soak])]
)
def test_a_second_signal_ends_it_at_once(
    job: Job, started: list[subprocess.Popen[str]], backend: str
) -> None:
    (job.hold / HELD).touch()
    process = begin(job, started, f"backend={backend}", "limits.grace_seconds=300")
    until(lambda: (HELD, 0) in job.edits.begun or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    words = heard(process, "finishing the steps in hand")
    assert process.poll() is None, "it waits for the step in hand"
    process.send_signal(signal.SIGINT)
    words += end(process)
    assert process.returncode == 130 and "interrupted; nothing is lost" in words, words
    assert (HELD, 0) not in job.edits.ended
    (job.hold / HELD).unlink()
    edits = job.finish()
    assert 1 <= edits.repeated <= IN_FLIGHT


def test_a_step_longer_than_the_grace_is_left_and_made_again(
    job: Job, started: list[subprocess.Popen[str]]
) -> None:
    """On Ray see `test_faults_workers`."""
    (job.hold / HELD).touch()
    process = begin(job, started, "limits.grace_seconds=1")
    until(lambda: (HELD, 0) in job.edits.begun or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    words = end(process)
    assert process.returncode == 130 and "SIGTERM received; finishing the steps in hand" in words, words
    assert (HELD, 0) not in job.edits.ended
    (job.hold / HELD).unlink()
    edits = job.finish()
    assert 1 <= edits.repeated <= IN_FLIGHT


def test_a_deadline_ends_a_run_in_order(job: Job, started: list[subprocess.Popen[str]]) -> None:
    (job.hold / HELD).touch()
    process = begin(job, started, "limits.deadline=10s")  # long enough to begin, also on a busy machine
    words = heard(process, "limits.deadline (10s) is reached; finishing the steps in hand")
    (job.hold / HELD).unlink()
    words += end(process)
    assert process.returncode == 1
    assert "deadline: limits.deadline (10s) is reached; nothing is lost: " in words
    edits = job.edits
    assert edits.begun == edits.ended and sum(edits.ended.values()) < 2 * RECORDS + 2
    assert job.finish().repeated == 0


def test_a_deadline_that_is_past_ends_a_run_before_it_begins(job: Job) -> None:
    limits = job.config.limits.model_copy(update={"deadline": "2026-01-01T00:00:00+01:00"})
    with pytest.raises(RunStopped, match=f"0 of {RECORDS} records are committed") as ended:
        run(job.config.model_copy(update={"limits": limits}))
    assert ended.value.end is RunEnd.deadline and ended.value.summary.planned == RECORDS
    assert not job.log.exists(), "no model is loaded"
    assert job.finish().repeated == 0


def test_a_worker_that_is_told_finishes_its_step_and_begins_no_other(job: Job) -> None:
    (job.hold / HELD).touch()
    stop = StopRequest()

    class Watch(Progress):
        def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
            if any(HELD in status.in_flight for status in statuses):
                stop.ask(RunEnd.interrupted, "that will do")
            if any(status.stopping for status in statuses):
                (job.hold / HELD).unlink(missing_ok=True)

    with pytest.raises(RunStopped):
        run(job.config.model_copy(update={"backend": "inline"}), Watch(), stop)
    edits = job.edits
    assert edits.begun == edits.ended
    assert (HELD, 0) in edits.ended and (HELD, 1) not in edits.begun
    assert job.finish().repeated == 0


def test_a_worker_that_comes_when_the_run_is_to_end_begins_nothing(job: Job) -> None:
    store = open_store(job.where, job.config.storage)
    found = read_plan(store)
    assert found is not None
    worker = open_worker(job.config, job.where, "a1", on_heartbeat=lambda _: True)
    try:
        assert worker(next(found.shards())) is None
    finally:
        worker.close()
    assert job.edits.begun == {} and not list(store.list("state"))


def test_too_many_failures_end_a_run_in_order(tmp_path: Path) -> None:
    log = tmp_path / "edits.log"
    policy = {"type": "simulated", "faults": [{"records": "rec-0000[0-3]", "does": "raise", "step": 1}]}
    base = settings(
        make_catalogue(tmp_path / "catalogue", RECORDS),
        tmp_path / "out",
        policy=policy | {"steps": {"exact": {"*": 3}}},
        editor=counted(log, 0.1, max_batch=1),
        workers={"records_in_flight": 8, "shard_size": 2},
    )
    strict = {"max_failed_fraction": 0.1, "min_records": 4}
    with pytest.raises(RunStopped) as ended:
        run(load_config(base | {"limits": strict}))
    assert ended.value.end is RunEnd.too_many_failed
    assert "records failed (policy_failed " in str(ended.value) and not ended.value.summary.complete
    first = read_edits(log)
    assert first.begun == first.ended and 2 <= ended.value.summary.failed <= 4
    summary = run(load_config(base | {"limits": strict | {"max_failed_fraction": 1}}))
    assert summary.complete and summary.resumed_steps > 0
    assert_whole(summary.run, load_config(base), RECORDS)
    assert read_edits(log).repeated == 0


# What is left behind


def test_clean_leaves_a_live_run_alone_and_clears_up_after_a_killed_one(
    job: Job, started: list[subprocess.Popen[str]]
) -> None:
    def cleaned(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*CLI, "clean", "--config", str(job.file), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    (job.hold / LATE).touch()
    process = begin(job, started)
    until(lambda: ((LATE, 0) in job.edits.begun and job.committed) or process.poll() is not None)
    store = open_store(job.where, job.config.storage)
    refused = cleaned()
    assert refused.returncode == 2 and f"process {process.pid}" in refused.stderr
    assert "stop it first" in refused.stderr and "Traceback" not in refused.stderr
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps = {entry.key for entry in store.list("state")}
    assert steps and read_claim(store) is not None
    store.put("state/00000/w/0.step", b"of a shard that is committed")
    half = Path(job.where, "results", ".part-00001.parquet.0123456789abcdef.tmp")
    half.write_bytes(b"half")
    store.put("live.json", b"{}")
    done = cleaned("--json")
    assert done.returncode == 0 and json.loads(done.stdout)["objects"] == 4, done.stdout + done.stderr
    assert read_claim(store) is None and not half.exists() and store.get("live.json") is None
    assert {entry.key for entry in store.list("state")} == steps, "of use to the next call"
    assert cleaned("--all-state").returncode == 0
    assert not list(store.list("state"))
    (job.hold / LATE).unlink()
    assert job.finish().lost.keys() == {process.pid}


# Runs that stall


class LetsGo(Notes):
    """Reads what the run waits for, and then mends it."""

    def __init__(self, held: Path) -> None:
        super().__init__()
        self._held = held

    def note(self, text: str) -> None:
        super().note(text)
        if HELD in text:
            self._held.unlink(missing_ok=True)


def test_a_stalled_run_says_what_it_is_at_and_goes_on(job: Job) -> None:
    """On Ray see `test_faults_workers`."""
    (job.hold / HELD).touch()
    limits = job.config.limits.model_copy(update={"stall_seconds": 1.0})
    watch = LetsGo(job.hold / HELD)
    assert run(job.config.model_copy(update={"limits": limits}), watch).complete
    named = [note for note in watch.notes if HELD in note]
    assert (
        named and "in flight on 1 workers are" in named[0] and f"{HELD!r} at step 0 (editor) for" in named[0]
    )
    assert job.finish().repeated == 0
