"""Standard output and standard error of real processes: what goes where, and what if they are gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.catalogue import make_catalogue, settings

CLI = [sys.executable, "-m", "mira_batch.cli"]
LOUD = """
import atexit, ctypes, logging, os, subprocess, sys
from mira_batch.models.embedded.pillow_editor import PillowEditor

held = logging.StreamHandler(sys.stdout)
atexit.register(print, "printed at the end")

class Loud(PillowEditor):
    def apply(self, requests):
        print("printed by Python")
        sys.stdout.write("half a line")
        os.write(1, b"written past Python\\n")
        subprocess.run(["echo", "said by a child"], check=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"held back by C")
        logging.getLogger("loud").addHandler(held)
        logging.getLogger("loud").warning("logged")
        return super().apply(requests)

def make():
    return Loud()

def broken():
    raise SystemError("\\x1b[2Jno \\u202emodel")
"""
SAID = (
    "printed by Python",
    "half a line",
    "written past Python",
    "said by a child",
    "held back by C",
    "logged",
    "printed at the end",
)


def write_config(folder: Path, records: int = 4, **more: Any) -> Path:
    path = folder / "config.json"
    path.write_text(
        json.dumps(settings(make_catalogue(folder / "catalogue", records), folder / "out", **more))
    )
    (folder / "loud.py").write_text(LOUD.replace("\\\\", "\\"))
    return path


def cli(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder)} | options.pop("env", {})
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [*CLI, *arguments], text=True, timeout=120, check=False, cwd=folder, env=environment, **streams
    )


LOUD_EDITOR = {"type": "custom", "factory": "loud:make"}


@pytest.mark.parametrize("command", [["run"], ["validate"]])
def test_json_is_json_whatever_a_model_prints(tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path, editor=LOUD_EDITOR)
    done = cli(tmp_path, *command, "-c", "config.json", "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    if command == ["run"]:
        assert json.loads(done.stdout)["ok"] == 4
        assert all(words in done.stderr for words in SAID), "it is not lost"


def test_text_is_the_answer_alone_whatever_a_model_prints(tmp_path: Path) -> None:
    write_config(tmp_path, editor=LOUD_EDITOR)
    done = cli(tmp_path, "run", "-c", "config.json")
    assert done.returncode == 0 and "4 of 4 committed" in done.stdout
    assert not [words for words in SAID if words in done.stdout]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "-c", "nowhere.yaml"], 2, "nowhere.yaml: can't read the config file"),
        (["run", "-c", "config.json", "--set", "workers.max=many"], 2, "workers.max"),
        (
            ["run", "-c", "config.json", "--set", "input.manifest=/no/m.jsonl"],
            2,
            "/no/m.jsonl: no such manifest",
        ),
        (["status", "-c", "config.json"], 2, "no such directory"),
        (["run", "--colour", "-c", "config.json"], 2, "bad usage"),
    ],
)
def test_an_error_is_json_as_well(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    write_config(tmp_path)
    done = cli(tmp_path, *arguments, "--json")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["error"] and says in found["error"]
    assert done.stderr.strip(), "people read it, too"


def test_a_fault_of_our_own_is_json_too_and_its_traceback_is_kept(tmp_path: Path) -> None:
    write_config(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import mira_batch.runtime.run as runner\n"
        "def status(job): raise ZeroDivisionError('ours')\n"
        "runner.status = status\n"
    )
    done = cli(tmp_path, "status", "-c", "config.json", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"error": "ZeroDivisionError: ours"}
    assert "Traceback" in done.stderr


def test_a_run_of_which_every_record_failed_does_not_exit_0(tmp_path: Path) -> None:
    broken = {"type": "simulated", "faults": [{"records": "*", "does": "raise"}]}
    write_config(tmp_path, editor=broken)
    for _ in range(2):  # also when there is nothing left to do
        done = cli(tmp_path, "run", "-c", "config.json", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 1 and (found["failed"], found["committed"]) == (4, 4)
        assert found["error"] == "4 of 4 records (editor_failed 4)"
        assert "all failed: 4 of 4 records (editor_failed 4)" in done.stderr
    one = {"type": "simulated", "faults": [{"records": "rec-0000[0-2]", "does": "raise"}]}
    config = json.loads((tmp_path / "config.json").read_text()) | {"editor": one}
    config["policy"] = {"type": "simulated", "steps": {"exact": {"*": 1}}}  # knows when the fourth is done
    (tmp_path / "config.json").write_text(json.dumps(config))
    some = cli(tmp_path, "run", "-c", "config.json", "--json")
    assert some.returncode == 0 and json.loads(some.stdout)["failed"] == 3


def gone() -> int:
    """The writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("command", [["run"], ["run", "--json"], ["run", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path)
    more = [] if "--help" in command else ["-c", "config.json"]
    write = gone()
    done = cli(tmp_path, *command, *more, stdout=write)
    os.close(write)
    assert done.returncode == 0 and "Error" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["run"], ["run", "--json"], ["--help"]])
def test_an_answer_that_can_t_be_written_is_one_line(tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path)
    more = [] if "--help" in command else ["-c", "config.json"]
    with open("/dev/full", "w") as full:
        done = cli(tmp_path, *command, *more, stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: standard output can't be written to: No space left on device; what the command did is kept"
    )
    assert "Traceback" not in done.stderr
    if "--help" not in command:
        assert json.loads(cli(tmp_path, "status", "-c", "config.json", "--json").stdout)["complete"]


@pytest.mark.parametrize("behind", ["a closed pipe", "a full disk", "nothing"])
def test_progress_that_nobody_can_read_ends_no_run(tmp_path: Path, behind: str) -> None:
    write_config(tmp_path, records=40)
    arguments = ["run", "-c", "config.json", "--json"]
    if behind == "nothing":
        shell = ["bash", "-c", 'exec "$@" 2>&-', "-", *CLI, *arguments]
        done = subprocess.run(
            shell, stdout=subprocess.PIPE, text=True, timeout=120, check=False, cwd=tmp_path
        )
    else:
        write = gone() if behind == "a closed pipe" else os.open("/dev/full", os.O_WRONLY)
        done = cli(tmp_path, *arguments, stderr=write)
        os.close(write)
    assert done.returncode == 0
    assert json.loads(done.stdout)["committed"] == 40


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_process_without_its_streams_does_its_work(tmp_path: Path, closed: str) -> None:
    write_config(tmp_path, editor=LOUD_EDITOR)
    shell = ["bash", "-c", f'exec "$@" {closed}', "-", *CLI, "run", "-c", "config.json"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(shell, timeout=120, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0
    assert json.loads(cli(tmp_path, "verify", "-c", "config.json", "--json").stdout)["ok"] == 4


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_without_these_characters_gets_their_escapes(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "Stück 画像"
    folder.mkdir()
    write_config(folder)
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "LANG": "C"}
    for command in ("run", "verify"):
        done = cli(folder, command, "-c", "config.json", env=environment, encoding=encoding)
        assert done.returncode == 0 and "Traceback" not in done.stderr
    assert ("✓" if encoding == "utf-8" else "\\u2713") in done.stdout
    wrong = cli(folder, "run", "-c", "画 [red]:key:.yaml", env=environment, encoding=encoding)
    assert wrong.returncode == 2
    name = "画" if encoding == "utf-8" else "\\u753b"
    assert (
        wrong.stderr
        == f"error: {name} [red]:key:.yaml: can't read the config file: No such file or directory\n"
    )
    assert cli(folder, "run", "--help", env=environment, encoding=encoding).returncode == 0


def test_foreign_text_moves_no_cursor(tmp_path: Path) -> None:
    write_config(tmp_path, editor={"type": "custom", "factory": "loud:broken"})
    done = cli(tmp_path, "run", "-c", "config.json")
    assert done.returncode == 2 and "no ⟨U+202E⟩model" in done.stderr and "␛[2J" in done.stderr
    assert not {"\x1b", "\u202e"} & set(done.stderr)


def test_nothing_is_left_open_at_the_end() -> None:
    """Python's development mode tells of files that are not closed."""
    command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "mira_batch.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ResourceWarning" not in done.stderr, done.stderr
