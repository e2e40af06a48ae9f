"""A record that kills or hangs its worker fails alone: on Ray, with processes that really die."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.storage.stores.objects import open_store
from tests.support.models.deadly import deadly
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits

pytestmark = [pytest.mark.ray, pytest.mark.faults]
RECORDS = 16


def run_with(tmp_path: Path, workers: int, **more: Any) -> dict[str, dict[str, Any]]:
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    pool = {"min": workers, "max": workers, "records_in_flight": 8, "shard_size": 4}
    models = {"policy": {"type": "simulated", "steps": {"exact": {"*": 2}}}, "editor": {"type": "simulated"}}
    config = load_config(settings(manifest, tmp_path / "out", backend="ray", workers=pool, **(models | more)))
    summary = run(config)
    assert summary.complete
    verdict = verify_edits(open_store(summary.run, config.storage))
    assert verdict.problems == []
    steps = read_trajectories(summary.run, images=False)["record_id"].to_pylist()
    rows = {row["record_id"]: row | {"logged": steps.count(row["record_id"])} for row in
            read_outputs(summary.run).to_pylist()}  # fmt: skip
    assert len(rows) == RECORDS
    return rows


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 3])
def test_only_the_records_that_exit_the_process_fail(tmp_path: Path, workers: int) -> None:
    policy = {"faults": [{"records": "rec-00003", "does": "exit", "step": 0}]}
    editor = {"faults": [{"records": "rec-00010", "does": "exit", "step": 1}]}
    exact = {"steps": {"exact": {"*": 2}}}
    rows = run_with(
        tmp_path,
        workers,
        policy={"type": "simulated"} | exact | policy,
        editor={"type": "simulated"} | editor,
    )
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00003": "worker_crash", "rec-00010": "worker_crash"}
    assert rows["rec-00010"]["logged"] == 1 and rows["rec-00010"]["image"] is not None
    assert rows["rec-00003"]["logged"] == 0 and rows["rec-00003"]["image"] is not None
    assert "exited without a word" in rows["rec-00003"]["error_message"]
    assert all(row["logged"] == 2 for name, row in rows.items() if name not in failed)


def test_a_call_that_hangs_fails_its_record_and_nothing_else(tmp_path: Path) -> None:
    rows = run_with(
        tmp_path,
        1,
        editor={"type": "simulated", "faults": [{"records": "rec-00005", "does": "hang", "step": 0}]},
        limits={"edit_seconds": 3.0},
    )
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00005": "step_timeout"}
    assert "took longer than 3 s" in rows["rec-00005"]["error_message"]


@pytest.mark.soak
def test_a_record_that_gets_further_between_two_kills_is_no_poison_and_a_crash_is_named(
    tmp_path: Path,
) -> None:
    """One record's process is killed once at each of its steps; another's crashes whenever it is edited."""
    (tmp_path / "once").mkdir()
    kills = {f"rec-00010/{step}": "kill" for step in range(4)}
    rows = run_with(
        tmp_path,
        1,
        policy={"type": "simulated", "steps": {"exact": {"*": 4}}},
        editor=deadly(kills, once=tmp_path / "once", always={"rec-00003/0": "segfault"}),
    )
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00003": "worker_crash"}
    assert len(list((tmp_path / "once").iterdir())) == 4, "all kills happened"
    assert "it crashed with SIGSEGV" in rows["rec-00003"]["error_message"]
    assert rows["rec-00003"]["image"] is not None and rows["rec-00010"]["num_steps"] == 4
