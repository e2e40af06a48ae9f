"""A signal at any moment of the driver's life: exit code 130, one line, no process left behind, nothing lost.

Moments are recognised by what can be seen from outside: libraries that are loaded, processes that are
there, files that are written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.processes import is_running
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from tests.support.models.counted import counted
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, config_file, until
from tests.support.runs.drivers import Begin, Driver, check_goes_on, make_ray_job

pytestmark = pytest.mark.faults
RECORDS, SHARDS = 12, 6
BOTH = signal.SIGINT, signal.SIGTERM
ALL = *BOTH, signal.SIGHUP


@pytest.fixture
def job(tmp_path: Path) -> BulkEditConfig:
    return make_ray_job(tmp_path, RECORDS, steps=2)


def results(folder: Path) -> int:
    return len(list(folder.glob("out/*/results/*.parquet")))


MOMENTS: dict[str, tuple[Callable[[Driver, Path], object], Sequence[signal.Signals]]] = {
    "the first imports": (lambda driver, _: driver.loads("pydantic_core"), BOTH),
    "imports": (lambda driver, _: driver.loads("pyarrow"), (signal.SIGINT, signal.SIGHUP)),
    "the import of Ray": (lambda driver, _: driver.loads("_raylet"), BOTH[1:]),
    "Ray's start": (lambda driver, _: driver.find("gcs_server"), BOTH),
    "its raylet's start": (lambda driver, _: driver.find("raylet/raylet"), BOTH),
    "the pool's start": (lambda driver, _: driver.find("ray::Board"), BOTH),
    "the first worker": (lambda driver, _: driver.find("ShardActor"), BOTH[:1]),
    "the first edit": (lambda _, folder: (folder / "edits.log").exists(), ALL[1:]),
    "the first commit": (lambda _, folder: results(folder), BOTH[:1]),
    "the last commit": (lambda _, folder: results(folder) == SHARDS, BOTH),
}
"""Each with the signals that are sent then."""
ALWAYS = {"the first imports", "the first worker"}
"""Moments of every test run, with the first of their signals; all others are for `make soak`."""
SOAK = pytest.mark.soak
CASES = [
    pytest.param(moment, number, marks=() if moment in ALWAYS and number == numbers[0] else SOAK)
    for moment, (_, numbers) in MOMENTS.items()
    for number in numbers
]
IN_TURN = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SOAK)]


@pytest.mark.ray
@pytest.mark.parametrize(("moment", "number"), CASES)
def test_a_signal_at_any_moment_of_a_run(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, moment: str, number: signal.Signals
) -> None:
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: MOMENTS[moment][0](driver, tmp_path))
    driver.process.send_signal(number)
    check_interrupted(driver)
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.soak
@pytest.mark.ray
@pytest.mark.parametrize("number", IN_TURN)
def test_a_signal_while_ray_is_shut_down(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, number: signal.Signals
) -> None:
    """Unless all is done and said by then: that stands."""
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: driver.find("raylet/raylet"))
    raylet = driver.find_first("raylet/raylet")
    until(lambda: not is_running(raylet))
    driver.process.send_signal(number)
    words = driver.end()
    if driver.process.returncode == 0:
        assert f"{RECORDS} of {RECORDS} committed" in words and "interrupted" not in words
    else:
        check_interrupted(driver)
    check_goes_on(tmp_path, job, RECORDS)


def test_a_second_signal_while_ray_starts_leaves_at_once(
    tmp_path: Path, job: BulkEditConfig, begin: Begin
) -> None:
    """Ray's raylet gets no time, so that its start does not end by itself."""
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: driver.find("raylet/raylet"))
    raylet = driver.find_first("raylet/raylet")
    os.kill(raylet, signal.SIGSTOP)
    driver.process.send_signal(signal.SIGINT)
    until(lambda: not is_pending(driver.process.pid, signal.SIGINT))
    driver.process.send_signal(signal.SIGTERM)
    check_interrupted(driver)
    check_goes_on(tmp_path, job, RECORDS)


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal was sent to a process that has not taken it yet."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(fields["ShdPnd"], 16) & 1 << (number - 1))


@pytest.mark.parametrize("number", IN_TURN)
@pytest.mark.parametrize("command", ["plan", "validate", "status", "verify", "clean"])
def test_a_signal_ends_every_command(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, command: str, number: signal.Signals
) -> None:
    driver = begin(*CLI, command, "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: driver.loads("pyarrow"))
    driver.process.send_signal(number)
    check_interrupted(driver)
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.parametrize("number", ALL)
def test_an_answer_in_json_says_that_it_was_interrupted(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, number: signal.Signals
) -> None:
    driver = begin_with_json(tmp_path, begin)
    driver.await_moment(lambda driver: driver.loads("pyarrow"))
    driver.process.send_signal(number)
    check_interrupted(driver)
    assert json.loads((tmp_path / "answer.json").read_text())["error"].startswith("interrupted; ")
    check_goes_on(tmp_path, job, RECORDS)


def test_records_are_not_blamed_for_a_second_signal(tmp_path: Path, begin: Begin) -> None:
    """However often somebody can't wait for the end of the step in hand."""
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "slow").touch()
    (tmp_path / "edits.log").touch()
    editor = counted(tmp_path / "edits.log", max_batch=1, hold=hold, slow=60)
    manifest = make_catalogue(tmp_path / "catalogue", 1)
    file, job = config_file(tmp_path, settings(manifest, tmp_path / "out", editor=editor, backend="inline"))
    for turn in range(3):
        driver = begin(*CLI, "run", "--config", file)
        until(lambda turn=turn: (tmp_path / "edits.log").read_text().count("begin") > turn)
        driver.process.send_signal(signal.SIGINT)
        driver.await_moment(lambda one: "finishing the steps in hand" in one.read())
        until(lambda turn=turn: len(list(tmp_path.glob("out/*/state/*/left-*"))) > turn)
        driver.process.send_signal(signal.SIGINT)
        assert "without a word" not in driver.end() and driver.process.returncode == 130
    (hold / "slow").unlink()
    check_goes_on(tmp_path, job, 1)


def test_so_it_does_after_a_second_signal(tmp_path: Path, job: BulkEditConfig, begin: Begin) -> None:
    driver = begin_with_json(tmp_path, begin, "--set", "backend=inline")
    driver.await_moment(lambda _: (tmp_path / "edits.log").exists())
    driver.process.send_signal(signal.SIGHUP)
    until(lambda: not is_pending(driver.process.pid, signal.SIGHUP))
    driver.process.send_signal(signal.SIGTERM)
    assert driver.end() and driver.process.returncode == 130
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["error"].startswith("interrupted; ") or answer.get("ended") == "interrupted", answer
    check_goes_on(tmp_path, job, RECORDS)


def test_a_command_below_nohup_outlives_its_terminal(
    tmp_path: Path, job: BulkEditConfig, begin: Begin
) -> None:
    driver = begin("nohup", *CLI, "run", "--config", tmp_path / "config.yaml", "--set", "backend=inline")
    driver.await_moment(lambda _: (tmp_path / "edits.log").exists())
    driver.process.send_signal(signal.SIGHUP)
    words = driver.end()
    assert driver.process.returncode == 0 and f"{RECORDS} of {RECORDS} committed" in words, words
    check_goes_on(tmp_path, job, RECORDS)


def begin_with_json(folder: Path, begin: Begin, *more: str) -> Driver:
    """`run --json`; its standard output is `answer.json` in the folder."""
    command = (*CLI, "run", "--json", "--config", folder / "config.yaml", *more)
    return begin("sh", "-c", 'exec "$@" > "$0"', folder / "answer.json", *command)


def test_a_driver_that_is_killed_has_a_last_word(tmp_path: Path, job: BulkEditConfig, begin: Begin) -> None:
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml", "--set", "backend=inline")
    driver.await_moment(lambda _: (tmp_path / "edits.log").exists())
    driver.process.kill()
    until(lambda: "error: this process ended without a word: it was killed" in driver.end())
    until(lambda: driver.find_processes() == {})
    check_goes_on(tmp_path, job, RECORDS)


@pytest.mark.parametrize("code", [0, 2])
def test_a_command_that_ends_by_itself_has_no_other(tmp_path: Path, begin: Begin, code: int) -> None:
    driver = begin(*CLI, "--help" if code == 0 else "--hepl")
    words = driver.end()
    assert driver.process.returncode == code and "without a word" not in words, words
    assert driver.find_processes() == {}


@pytest.mark.soak
@pytest.mark.ray
@pytest.mark.parametrize("number", IN_TURN)
def test_a_signal_while_ray_plans(tmp_path: Path, begin: Begin, number: signal.Signals) -> None:
    """A manifest that is read by Ray's tasks, since it is large."""
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    many = [rows[i % RECORDS] | {"record_id": f"many-{i}", "text": "long " * 200} for i in range(20_000)]
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in many))
    job = config_file(tmp_path, settings(manifest, tmp_path / "out", backend="ray"))[1]
    driver = begin(*CLI, "plan", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: driver.find("ray::MapBatches"))
    driver.process.send_signal(number)
    check_interrupted(driver)
    assert runner.plan(EditJob(job.model_copy(update={"backend": "inline"}))).planned == len(many)


MOURNERS = """
import subprocess, threading, time
from mira_batch.cli.interrupts import Interrupts
from mira_batch.report.streams import Murmur, divert_prints

def mourn():
    subprocess.Popen(["sleep", "1000"]).wait()
    raise RuntimeError("what it talked to is gone")

interrupts = Interrupts(program=True)
interrupts.listen()
divert_prints(Murmur())
for _ in range(20):
    threading.Thread(target=mourn, daemon=True).start()
time.sleep(1000)
"""


def test_threads_whose_processes_are_ended_have_no_word_in_it(begin: Begin) -> None:
    """Ray has threads that talk to its processes, and raise when these are gone."""
    driver = begin(sys.executable, "-c", MOURNERS)
    until(lambda: len(driver.find("sleep 1000")) == 20)
    driver.process.send_signal(signal.SIGTERM)
    check_interrupted(driver)


READER = """
import atexit, io, sys, threading, time
import pyarrow as pa
import pyarrow.parquet as pq
from mira_batch.cli import main

class SlowFile(io.BytesIO):
    def read(self, *size):
        time.sleep(0.001)
        return super().read(*size)

def read():
    while True:
        pq.ParquetFile(SlowFile(file.getvalue())).read()

file = io.BytesIO()
pq.write_table(pa.table({name: range(2_000) for name in "abcdefgh"}), file, row_group_size=500)
def work():
    threading.main_thread().join()
    print("a thread")
    atexit.register(print, "and what waits for the end")

threading.Thread(target=read, daemon=True).start()
threading.Thread(target=work).start()
sys.exit(main())
"""


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=SOAK) for turn in range(1, 5))])
def test_a_command_that_is_done_ends_well_whatever_arrow_still_does(begin: Begin, turn: int) -> None:
    """CI saw it once: "terminate called without an active exception", and SIGABRT for 0."""
    driver = begin(sys.executable, "-c", READER, "--help")
    assert driver.end().splitlines()[-2:] == ["a thread", "and what waits for the end"]
    assert driver.process.returncode == 0


HALF_A_LINE = """
import sys
from mira_batch.cli.interrupts import Interrupts

interrupts = Interrupts(program=True)
sys.stdout = open("/dev/full", "w")
sys.stdout.write("an answer that can't be written")
sys.stderr = open(2, "w", closefd=False, buffering=1000)
sys.stderr.write("what went wrong")
interrupts.finish(1)
"""


def test_what_went_wrong_is_said_where_the_answer_cannot_be_written(begin: Begin) -> None:
    driver = begin(sys.executable, "-c", HALF_A_LINE)
    assert "what went wrong" in driver.end() and driver.process.returncode == 1


def check_interrupted(driver: Driver) -> None:
    words = driver.end()
    assert driver.process.returncode == 130, words
    assert sum("interrupted" in line for line in words.splitlines()) == 1, words
    assert not any(sign in words for sign in ("Traceback", "rror", "***", "Exception")), words
    assert driver.find_processes() == {}, words
