"""The job as a cluster runs it: a real Ray head, token required, and `ray job submit`.

The head is a child process in a process group of its own; it is stopped by that and its children's pids.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

import mira_batch
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from tests.support import ROOT
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import find_below, until
from tests.support.runs.edits import verify_edits
from tests.support.servers.s3 import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow]
RECORDS = 40
PYTHONPATH = json.dumps({"env_vars": {"PYTHONPATH": str(ROOT)}})
"""For the models of the tests, which an uploaded checkout would not have."""


@dataclass(frozen=True)
class Head:
    url: str
    """Where the dashboard listens, which takes jobs."""
    environment: dict[str, str]
    """What a client needs; holds the token."""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Short: the path of a Unix socket below it may have 107 characters, and pytest's own folders are long.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        with ray_head(folder) as started:
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_head(folder: Path) -> Iterator[Head]:
    dashboard, bin_folder = free_port(), Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(folder),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps every server on 127.0.0.1
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",  # the job's `python` is this one
    }
    # Ports of its own, since the defaults may be another Ray's on this machine.
    ports = ("port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    command = [
        str(bin_folder / "ray"), "start", "--head", "--block", "--disable-usage-stats",
        "--num-cpus", "4", "--object-store-memory", "200000000",
        "--node-ip-address", "127.0.0.1",
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard),
        *(part for name in ports for part in (f"--{name}", str(free_port()))),
    ]  # fmt: skip
    with open(folder / "head.log", "wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        started = Head(f"http://127.0.0.1:{dashboard}", environment)
        await_head(process, started, folder / "head.log")
        yield started
    finally:
        stop(process)


def await_head(process: subprocess.Popen[bytes], head: Head, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if answer(head, head.environment["RAY_AUTH_TOKEN"]) == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the Ray head did not start:\n{log.read_text()[-2000:]}")


def answer(head: Head, token: str) -> int:
    """The HTTP status of asking for the list of jobs."""
    request = urllib.request.Request(f"{head.url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the head and everything it started, at once: asked to, it would take half a minute, and its
    folder is thrown away."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    for child in children:  # Ray's workers have process groups of their own
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=10)


def submit(
    head: Head, folder: Path, *options: str, job: str = "bulk_edit"
) -> subprocess.CompletedProcess[str]:
    """Submit a job, and again for as long as the head is up but its agent, which takes jobs, isn't."""
    entrypoint = ("--", "python", f"jobs/{job}.py", "--config", "job.yaml")
    deadline = time.monotonic() + 90
    while True:
        done = ray_job(head, "submit", "--working-dir", str(folder), *options, *entrypoint)
        if "No available agent to submit job" not in done.stdout or time.monotonic() > deadline:
            return done


def ray_job(head: Head, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    ray = str(Path(sys.executable).with_name("ray"))
    return subprocess.run(
        [ray, "job", command, "--address", head.url, *arguments],
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )


def make_working_dir(folder: Path, **more: object) -> Path:
    """What `--working-dir` uploads: the job's script and a config over a catalogue beside it."""
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    work = folder / "work"
    shutil.copytree(ROOT / "jobs", work / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    config = settings(manifest, folder / "out", backend="ray") | more
    (work / "job.yaml").write_text(yaml.safe_dump(config))
    return work


def test_a_submitted_job_runs_on_the_cluster_and_a_second_one_has_nothing_to_do(
    tmp_path: Path, head: Head
) -> None:
    work = make_working_dir(tmp_path)
    done = submit(head, work)
    assert done.returncode == 0, done.stdout
    assert f"planning: {RECORDS} manifest rows read" in done.stdout, done.stdout
    assert f"{RECORDS} records planned" in done.stdout, done.stdout
    assert f"{RECORDS} of {RECORDS} committed" in done.stdout, done.stdout
    assert "instruction_unclear 1" in done.stdout and "image_unreadable 1" in done.stdout, done.stdout

    verdict = verify_edits(runner.open_existing(EditJob(mira_batch.load_config(work / "job.yaml"))))
    assert verdict.problems == [] and verdict.committed == RECORDS
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("results/*")}

    again = submit(head, work)
    assert again.returncode == 0, again.stdout
    assert "nothing to do: every record is committed" in again.stdout, again.stdout
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("results/*")}


def test_a_submitted_job_with_a_mistake_fails_with_one_line(tmp_path: Path, head: Head) -> None:
    done = submit(head, make_working_dir(tmp_path, wrokers={"max": 2}))
    assert done.returncode != 0
    said = {line for line in done.stdout.splitlines() if "wrokers" in line}  # Ray prints a failed log twice
    assert len(said) == 1 and "did you mean 'workers'" in said.pop(), done.stdout
    assert "failed with exit code 2" in done.stdout and "Traceback" not in done.stdout, done.stdout


@pytest.mark.soak
def test_a_job_that_is_stopped_ends_in_order_and_goes_on(tmp_path: Path, head: Head) -> None:
    models = {
        "policy": {"type": "simulated"},
        "editor": {"type": "simulated", "service": {"seconds": 0.5}, "max_batch": 2},
    }
    work = make_working_dir(tmp_path, **models)
    # As docs/deploy.md says: time for the steps in hand.
    env = '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}'
    begun = submit(head, work, "--no-wait", "--submission-id", "stopped", "--runtime-env-json", env)
    assert begun.returncode == 0, begun.stdout
    until(lambda: any(path.name.startswith("part-") for path in find_below(tmp_path / "out", ".parquet")))
    stopped = ray_job(head, "stop", "stopped")
    assert stopped.returncode == 0, stopped.stdout
    said = ray_job(head, "logs", "stopped").stdout
    assert "interrupted: SIGTERM received; nothing is lost: " in said and "Traceback" not in said, said
    again = submit(head, work)
    assert again.returncode == 0 and f"{RECORDS} of {RECORDS} committed" in again.stdout, again.stdout


@pytest.mark.soak
def test_of_two_nights_that_are_submitted_at_once_one_runs_and_one_stands_back(
    tmp_path: Path, head: Head
) -> None:
    hold, log = tmp_path / "hold", tmp_path / "edits.log"
    hold.mkdir()
    (hold / "rec-00020").touch()
    models = {"policy": {"type": "simulated"}, "editor": counted(log, hold=hold)}
    work = make_working_dir(tmp_path, **models)
    night = ("--metadata-json", '{"catalogue": "spring"}', "--runtime-env-json", PYTHONPATH)
    begun = submit(head, work, *night, "--no-wait", "--submission-id", "night-a", job="nightly")
    assert begun.returncode == 0, begun.stdout
    until(lambda: read_edits(log).begun)
    second = submit(head, work, *night, "--submission-id", "night-b", job="nightly")
    assert second.returncode == 0 and "skipped: night-" in second.stdout, second.stdout
    (hold / "rec-00020").unlink()
    until(lambda: "'night-a' succeeded" in ray_job(head, "status", "night-a").stdout)
    said = ray_job(head, "logs", "night-a").stdout
    assert f"{RECORDS} of {RECORDS}: " in said and "Traceback" not in said, said
    assert read_edits(log).repeated == 0
    assert "'catalogue': 'spring'" in ray_job(head, "list").stdout


def test_the_cluster_asks_for_its_token(head: Head) -> None:
    assert answer(head, head.environment["RAY_AUTH_TOKEN"]) == 200
    assert answer(head, "another") in (401, 403)
