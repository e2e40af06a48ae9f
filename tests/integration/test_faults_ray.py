"""Ray itself dies or does not start: one line says what happened and what to do, and nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from ray._private import worker as ray_worker
from ray._raylet import GcsErrorSubscriber
from ray.exceptions import RpcError

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import WorkersConfig
from mira_batch.runtime.backends.cluster import ray_session
from tests.support.models.counted import read_edits
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin, Driver, check_goes_on, make_ray_job
from tests.support.servers.s3 import free_port

pytestmark = [pytest.mark.ray, pytest.mark.faults]
RECORDS = 24


@pytest.fixture
def job(tmp_path: Path) -> BulkEditConfig:
    return make_ray_job(tmp_path, RECORDS, steps=3)


def begin_run(begin: Begin, folder: Path, **environment: str) -> Driver:
    return begin(*CLI, "run", "--config", folder / "config.yaml", **environment)


def begin_work(begin: Begin, folder: Path) -> Driver:
    """A run whose first edit has ended."""
    driver = begin_run(begin, folder)
    driver.await_moment(lambda _: read_edits(folder / "edits.log").ended)
    return driver


def check_ended(driver: Driver, code: int, words: str) -> None:
    """It ended with this code, said one line for it with these words, and left no process behind."""
    driver.process.wait(120)
    until(lambda: driver.find_processes() == {}, seconds=20)  # its witness has a last word
    said = driver.end()
    assert driver.process.returncode == code, said
    lines = [line for line in said.splitlines() if not line.startswith(("planning: ", "running "))]
    progress = f"of {RECORDS} records", "finishing the steps in hand"
    lines = [line for line in lines if not any(words in line for words in progress)]
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0], said


@pytest.mark.parametrize(
    ("moment", "name", "words"),
    [
        pytest.param("the pool's start", "raylet/raylet", "raylet", marks=pytest.mark.soak),
        ("work", "gcs_server", "GCS"),
        pytest.param("the pool's start", "gcs_server", "GCS", marks=pytest.mark.soak),
        pytest.param("work", "raylet/raylet", "raylet", marks=pytest.mark.soak),
    ],
)
def test_ray_that_dies_is_named_and_the_same_command_goes_on(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, moment: str, name: str, words: str
) -> None:
    driver, log = begin_run(begin, tmp_path), tmp_path / "edits.log"
    driver.await_moment(
        lambda driver: driver.find("ray::Board") if moment == "the pool's start" else read_edits(log).ended
    )
    pid = driver.find_first(name)
    os.kill(pid, signal.SIGKILL)
    check_ended(driver, 1, words)
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.soak
def test_ray_that_dies_during_the_ending_after_a_signal_is_named_once(
    tmp_path: Path, job: BulkEditConfig, begin: Begin
) -> None:
    driver = begin_work(begin, tmp_path)
    pid = driver.find_first("gcs_server")
    os.kill(pid, signal.SIGSTOP)  # who ends in order asks it, and gets no answer before it dies
    driver.process.send_signal(signal.SIGTERM)
    until(lambda: "finishing the steps in hand" in driver.read())
    os.kill(pid, signal.SIGKILL)
    check_ended(driver, 130, "GCS")
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.soak
def test_all_that_ray_starts_can_be_found_again(tmp_path: Path, job: BulkEditConfig, begin: Begin) -> None:
    """Also what has given itself a title: Ray's agents stay for ever, if nobody ends them."""
    driver = begin_work(begin, tmp_path)
    own = psutil.Process(driver.process.pid)
    started = [process for process in own.children(recursive=True) if process.cmdline() != own.cmdline()]
    assert sum("Agent" in " ".join(process.cmdline()) for process in started) >= 2, started

    def is_marked(process: psutil.Process) -> bool:
        try:
            return "MIRA_BATCH_PROCESS" in process.environ()
        except psutil.NoSuchProcess:  # it has ended by itself
            return True

    # What just begins a program shows no environment for a moment.
    until(lambda: all(map(is_marked, started)))
    driver.process.send_signal(signal.SIGTERM)
    assert driver.end() and driver.process.returncode == 130


@pytest.mark.soak
def test_what_a_killed_driver_and_a_dead_raylet_leave_behind_is_ended(
    tmp_path: Path, job: BulkEditConfig, begin: Begin
) -> None:
    """The raylet's own processes would stay for ever: nobody is left who could tell them."""
    driver = begin_work(begin, tmp_path)
    raylet = driver.find_first("raylet/raylet")
    for pid in (driver.process.pid, raylet):
        os.kill(pid, signal.SIGKILL)
    check_ended(driver, -signal.SIGKILL, "was killed")
    check_goes_on(tmp_path, job, RECORDS)


def test_the_listener_of_a_ray_that_is_gone_before_it_begins_has_no_word() -> None:
    with ray_session(WorkersConfig()):
        lost = [GcsErrorSubscriber(address=f"127.0.0.1:{free_port()}") for _ in range(2)]
        with pytest.raises(RpcError):
            lost[0].subscribe()
        worker: Any = SimpleNamespace(gcs_error_subscriber=lost[1])
        ray_worker.listen_error_messages(worker, threading.Event())


@pytest.mark.soak
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_ray_that_is_too_slow_to_start_is_started_once_more(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, times: int
) -> None:
    """As on a machine that is too busy: its raylet is there, but gets no time."""
    driver, stopped = begin_run(begin, tmp_path), set[int]()
    for _ in range(times):
        driver.await_moment(lambda driver: set(driver.find("raylet/raylet")) - stopped)
        pid = (set(driver.find("raylet/raylet")) - stopped).pop()
        stopped.add(pid)
        os.kill(pid, signal.SIGSTOP)
    if times == 2:
        check_ended(driver, 2, "Ray did not start on this machine")
    else:
        said = driver.end()
        assert driver.process.returncode == 0, said
    check_goes_on(tmp_path, job, RECORDS)


def test_ray_that_can_not_start_is_one_line(tmp_path: Path, job: BulkEditConfig, begin: Begin) -> None:
    """Its sockets lie in its folder, and the path of a Unix socket may have 107 characters."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    check_ended(begin_run(begin, tmp_path, RAY_TMPDIR=str(folder)), 2, "Ray did not start on this machine")
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.soak
def test_a_cluster_that_does_not_answer_is_one_line(
    tmp_path: Path, job: BulkEditConfig, begin: Begin
) -> None:
    """Something listens at its address, but is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        check_ended(
            begin_run(begin, tmp_path, RAY_ADDRESS=address), 2, f"RAY_ADDRESS={address}: can't connect"
        )
    check_goes_on(tmp_path, job, RECORDS)
