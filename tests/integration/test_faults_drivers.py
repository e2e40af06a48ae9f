"""Two drivers on one run, a driver that is killed, and one that wakes after its work was done by another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.edit import BulkEditConfig
from mira_batch.runtime.lease import read_claim
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.models.counted import Edits, counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import (
    Results,
    assert_whole,
    config_file,
    heard,
    left_alone,
    results,
    start,
    until,
)
from tests.support.servers.s3 import S3Server

pytestmark = pytest.mark.faults
RECORDS = 16
IN_FLIGHT = 4
HELD = "rec-00002"
"""The record whose edit a test keeps from ending; it takes several steps."""


@dataclass(frozen=True)
class Job:
    """A run that drivers of their own process work on."""

    file: Path
    config: BulkEditConfig
    store: Store
    log: Path
    hold: Path
    expected: Results

    @property
    def edits(self) -> Edits:
        return read_edits(self.log)

    def keep(self, *records: str) -> None:
        """From now on these records' edits don't end."""
        for record in records:
            (self.hold / record).touch()

    def let_go(self, *records: str) -> None:
        for record in records:
            (self.hold / record).unlink()

    def at(self, driver: subprocess.Popen[str], record: str) -> bool:
        """Whether the driver is in the middle of this record's edit."""
        return any(name == record for name, _ in self.edits.open[driver.pid])

    def state(self) -> list[str]:
        return [entry.key for entry in self.store.list("state")]

    def check(self) -> None:
        assert_whole(self.store.uri, self.config, RECORDS)
        assert results(self.store.uri, self.config.storage) == self.expected
        assert self.state() == [] and read_claim(self.store) is None


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def starts() -> Iterator[Start]:
    """Starts drivers; none outlives the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(job: Job, *arguments: str) -> subprocess.Popen[str]:
        begun.append(start(job.file, *arguments))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    log, hold = tmp_path / "edits.log", tmp_path / "hold"
    more: dict[str, Any] = {}
    output, here = str(tmp_path / "out"), request.param == "local"
    if not here:
        s3: S3Server = request.getfixturevalue("s3")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        output = f"s3://{s3.bucket}/drivers/{request.node.name}"
        more["storage"] = {"endpoint_url": s3.endpoint}
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    more["workers"] = {"records_in_flight": IN_FLIGHT, "shard_size": 2}
    steps = {"exact": {HELD: 4, "*": 2}}
    more |= {"policy": {"type": "simulated", "steps": steps}}
    more["editor"] = counted(log, 0.1, max_batch=1, hold=hold)
    file, config = config_file(tmp_path, settings(manifest, output, run_id="run", **more))
    expected = left_alone(config, tmp_path / "alone", log)
    hold.mkdir()
    return Job(file, config, open_store(f"{output}/run", config.storage, make=here), log, hold, expected)


local = pytest.mark.parametrize("job", ["local"], indirect=True)
S3 = pytest.mark.s3, pytest.mark.soak
local_or_soak = pytest.mark.parametrize("job", ["local", pytest.param("s3", marks=S3)], indirect=True)
s3_or_soak = pytest.mark.parametrize(
    "job", [pytest.param("local", marks=pytest.mark.soak), pytest.param("s3", marks=S3[:1])], indirect=True
)


def said(process: subprocess.Popen[str]) -> str:
    """What a driver printed, to its end."""
    return process.communicate(timeout=90)[0]


@local
def test_the_second_driver_is_told_who_runs_and_leaves(job: Job, starts: Start) -> None:
    job.keep(HELD)
    first = starts(job)
    until(lambda: job.at(first, HELD))
    second = starts(job)
    words = said(second)
    assert second.returncode == 2 and "Traceback" not in words
    claim = read_claim(job.store)
    assert claim is not None and claim.pid == first.pid
    named = rf"{claim.host}, process {first.pid}, since {re.escape(claim.since)}, last heartbeat 20"
    assert re.search(rf"another driver runs this: {named}", words) and "--takeover" in words
    job.let_go(HELD)
    said(first)
    assert first.returncode == 0 and job.edits.pids == {first.pid}, "the second did no work"
    job.check()


@local_or_soak
def test_a_run_that_is_taken_over_ends_in_order_and_the_other_completes_it(job: Job, starts: Start) -> None:
    job.keep(HELD)
    first = starts(job)
    until(lambda: job.at(first, HELD))
    second = starts(job, "--takeover")
    words = heard(first, "finishing the steps in hand")
    job.let_go(HELD)
    words += said(first)
    assert first.returncode == 1 and f"process {second.pid}" in words
    assert "taken_over: another driver took the run over" in words and "nothing is lost" in words
    finished = said(second)
    assert second.returncode == 0 and f"taking the run over from {os.uname().nodename}" in finished
    edits = job.edits
    print(f"{edits.repeated} of {sum(edits.begun.values())} steps repeated by a take-over")
    assert not edits.open[first.pid], "the first finished the step it was at"
    assert max(edits.begun.values()) <= 2, "until it hears of it, it may be at the same steps"
    job.check()


@s3_or_soak
def test_a_killed_driver_is_followed_at_once(job: Job, starts: Start) -> None:
    job.keep(HELD)
    first = starts(job)
    until(lambda: job.at(first, HELD))
    first.send_signal(signal.SIGKILL)
    first.wait()
    job.let_go(HELD)
    claim = read_claim(job.store)
    assert claim is not None and claim.pid == first.pid, "it could not give its claim up"
    second = starts(job)
    words = said(second)
    assert second.returncode == 0 and "waiting for its heartbeat" not in words
    edits = job.edits
    print(f"{edits.repeated} of {sum(edits.begun.values())} steps repeated by a killed driver")
    assert 1 <= edits.lost[first.pid] == edits.repeated <= IN_FLIGHT
    job.check()


@local
def test_a_driver_that_wakes_after_the_end_changes_nothing(job: Job, starts: Start) -> None:
    """It is stopped in the middle of an edit, and another driver commits all that it had in hand."""
    first, second = stopped_and_replaced(job, starts)
    assert second.returncode == 0
    job.check()
    before = {entry.key: job.store.get(entry.key) for entry in job.store.list("results")}
    begun = job.edits.begun.total()
    first.send_signal(signal.SIGCONT)
    said(first)
    assert first.returncode == 0, "all there was to do is done"
    assert not job.edits.open[first.pid]
    assert {entry.key: job.store.get(entry.key) for entry in job.store.list("results")} == before
    print(f"{job.edits.begun.total() - begun} more steps begun by a driver that woke too late")
    job.check()


@local
def test_late_steps_of_a_driver_that_died_are_swept(job: Job, starts: Start) -> None:
    first, _ = stopped_and_replaced(job, starts)
    job.check()
    job.keep(*(f"rec-{index:05d}" for index in range(RECORDS) if f"rec-{index:05d}" != HELD))
    first.send_signal(signal.SIGCONT)
    until(lambda: any(key.endswith(".step") for key in job.state()))
    first.send_signal(signal.SIGKILL)
    first.wait()
    job.let_go(*(path.name for path in job.hold.iterdir()))
    assert results(job.store.uri, job.config.storage) == job.expected, "a late step shows nowhere"
    third = starts(job)
    said(third)
    assert third.returncode == 0
    job.check()


def stopped_and_replaced(job: Job, starts: Start) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """A driver that sleeps in the middle of an edit, and another that has done all its work meanwhile."""
    job.keep(HELD)
    first = starts(job)
    until(lambda: job.at(first, HELD))
    first.send_signal(signal.SIGSTOP)
    job.let_go(HELD)
    second = starts(job, "--takeover")
    said(second)
    return first, second
