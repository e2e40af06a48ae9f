"""Lanes of `make learn`: processes side by side, of which none outlives the others' failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.learn.lanes import run_side_by_side
from mira_batch.core.errors import UserError
from tests.support import ROOT


def meet(folder: Path, own: str, other: str, note: Callable[[str], None]) -> None:
    """Say that it is there, and wait for another lane to say so."""
    import torch

    (folder / own).write_text(str(os.getpid()))
    while not (folder / other).exists():
        time.sleep(0.05)
    note(f"met {other}, {torch.get_num_threads()} thread")


def refuse(folder: Path, note: Callable[[str], None]) -> None:
    while not (folder / "a").exists():
        time.sleep(0.05)
    raise UserError("no such thing")


def die(note: Callable[[str], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_gone(file: Path) -> bool:
    return not psutil.pid_exists(int(file.read_text()))


def test_lanes_run_side_by_side_with_one_thread_each(tmp_path: Path) -> None:
    said: list[str] = []
    calls = {"A": partial(meet, tmp_path, "a", "b"), "B": partial(meet, tmp_path, "b", "a")}
    run_side_by_side(calls, 2, said.append)
    assert sorted(said) == ["A: met b, 1 thread", "B: met a, 1 thread"]


def test_a_refusal_of_one_ends_the_others_and_is_passed_on(tmp_path: Path) -> None:
    calls = {"A": partial(meet, tmp_path, "a", "never"), "B": partial(refuse, tmp_path)}
    with pytest.raises(UserError, match="^B: no such thing$"):
        run_side_by_side(calls, 2, print)
    assert is_gone(tmp_path / "a")


def test_a_death_is_told_and_what_had_not_begun_does_not_begin(tmp_path: Path) -> None:
    calls = {"A": die, "B": partial(meet, tmp_path, "b", "b")}
    with pytest.raises(RuntimeError, match="A: its process ended with -9"):
        run_side_by_side(calls, 1, print)
    assert not (tmp_path / "b").exists()


def test_lanes_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = f"""
from functools import partial
from pathlib import Path
from benchmarks.learn.lanes import run_side_by_side
from tests.integration.test_learn_lanes import meet
if __name__ == "__main__":
    run_side_by_side({{"A": partial(meet, Path({str(tmp_path)!r}), "a", "never")}}, 1, print)
"""
    (tmp_path / "main.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
            assert time.monotonic() < until and parent.poll() is None
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    until = time.monotonic() + 60
    while not is_gone(tmp_path / "a"):
        assert time.monotonic() < until
        time.sleep(0.1)
