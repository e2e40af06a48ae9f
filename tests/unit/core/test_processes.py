"""All that a command has started is found and ended, whatever it is at."""

from __future__ import annotations

import secrets
import subprocess
import time
from pathlib import Path

import pytest

from mira_batch.core.processes import is_running, kill_marked, mark_descendants


def test_processes_that_just_begin_another_program_are_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment they show no environment. This one begins itself again, and again."""
    program = tmp_path / "again.sh"
    program.write_text(f"#!/bin/sh\nexec {program}\n")
    program.chmod(0o755)
    for name in ("MIRA_BATCH_PROCESS", "SPT_NOENV"):  # which `mark_descendants` sets
        monkeypatch.setenv(name, "")
    for _ in range(30):
        mark_descendants(mark := secrets.token_hex(8))
        process = subprocess.Popen([program])
        try:
            time.sleep(0.02)
            kill_marked(mark, 30)
            assert process.wait(1) == -9
        finally:
            process.kill()
            process.wait()


def test_those_of_others_are_left_alone() -> None:
    """One without any environment might be one that just begins."""
    other = subprocess.Popen(["sleep", "60"], env={})
    try:
        kill_marked(secrets.token_hex(8), 30)
        assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()
