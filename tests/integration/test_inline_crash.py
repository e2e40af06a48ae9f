"""Inline, a record that ends or hangs the process takes the driver along: the next calls find it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mira_batch import read_outputs
from tests.support import ROOT
from tests.support.models.deadly import deadly
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, find_below, until
from tests.support.runs.edits import find_run

pytestmark = pytest.mark.faults
RECORDS = 8


def write_config(tmp_path: Path, editor: dict[str, Any], **more: Any) -> Path:
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    base = {
        "workers": {"shard_size": 4, "records_in_flight": 4},
        "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
        "editor": editor,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings(manifest, tmp_path / "out", **(base | more))))
    return path


def call(config: Path) -> tuple[int, str]:
    """`mira-batch run` to its end: exit code and what it says."""
    done = subprocess.run(
        [*CLI, "run", "--config", str(config)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


def rows_of(tmp_path: Path) -> dict[str, dict[str, Any]]:
    where = find_run(tmp_path / "out").uri
    return {row["record_id"]: row for row in read_outputs(where).to_pylist()}


def test_a_record_that_ends_the_process_is_found_by_the_next_calls(tmp_path: Path) -> None:
    config = write_config(tmp_path, deadly({"rec-00002/1": "kill"}))
    code, said = call(config)
    assert code == -signal.SIGKILL and "one at a time" not in said
    assert "or a model ended it" in said and "Ray" not in said
    for _ in range(2):
        code, said = call(config)
        assert (
            code == -signal.SIGKILL
            and "an earlier call ended without a word" in said
            and "backend: ray" in said
        )
    code, said = call(config)
    assert code == 0, said
    rows = rows_of(tmp_path)
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"rec-00002"}
    row = rows["rec-00002"]
    assert row["error_kind"] == "worker_crash" and "died 2 times at step 1" in row["error_message"]
    assert row["num_steps"] == 1 and row["image"] is not None


def test_a_record_that_calls_exit_does_not_end_the_run_with_0(tmp_path: Path) -> None:
    config = write_config(tmp_path, deadly({"rec-00002/1": "exit_0"}))
    for _ in range(3):
        done = subprocess.run(
            [*CLI, "run", "--config", str(config), "--json"], cwd=ROOT, capture_output=True, timeout=120
        )
        if not done.returncode:
            break
        assert done.returncode == 1
        assert "os._exit(0) was called" in json.loads(done.stdout)["error"]
    else:
        code, said = call(config)
        assert code == 0, said
    rows = rows_of(tmp_path)
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00002": "worker_crash"}


def test_a_call_that_hangs_says_what_to_do_and_that_is_so(tmp_path: Path) -> None:
    hang = {"type": "simulated", "faults": [{"records": "rec-00005", "does": "hang", "step": 0}]}
    config = write_config(tmp_path, hang, limits={"edit_seconds": 1.0})
    for _ in range(2):
        code, said = call(config)
        assert code == 1 and "took longer than 1 s" in said and "run the same command again" in said
    code, said = call(config)
    assert code == 0, said
    rows = rows_of(tmp_path)
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00005": "step_timeout"}


def test_a_call_that_was_interrupted_leaves_no_suspicion(tmp_path: Path) -> None:
    slow = {"type": "simulated", "service": {"seconds": 0.5}, "max_batch": 1}
    config = write_config(tmp_path, slow)
    driver = subprocess.Popen(
        [*CLI, "run", "--config", str(config)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    until(lambda: find_below(tmp_path / "out", "0.step"))
    os.kill(driver.pid, signal.SIGTERM)
    said = driver.communicate(timeout=60)[1]
    assert driver.returncode == 130 and "the same command goes on" in said
    code, said = call(config)
    assert code == 0 and "one at a time" not in said
    assert {row["status"] for row in rows_of(tmp_path).values()} == {"ok"}
