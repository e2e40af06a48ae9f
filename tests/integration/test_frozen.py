"""Workers that freeze, and can't keep their own time limits: the driver ends them, and the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.shared import WorkersConfig
from mira_batch.runtime.backends.cluster import ray_session
from tests.support.models.deadly import deadly
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import Notes

pytestmark = [pytest.mark.ray, pytest.mark.faults]
RECORDS = 6


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    """One Ray for all tests of this file: a run uses the one that is there."""
    with ray_session(WorkersConfig(max=2)):
        yield


def rows_of(tmp_path: Path, watch: Notes, editor: dict[str, Any]) -> dict[str, dict[str, Any]]:
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="ray",
            workers={"shard_size": 3},
            policy={"type": "simulated", "steps": {"exact": {"*": 2}}},
            editor=editor,
            limits={"edit_seconds": 5.0, "policy_seconds": 5.0, "stall_seconds": 3.0},
        )
    )
    summary = run(config, watch)
    assert summary.complete
    return {row["record_id"]: row for row in read_outputs(summary.run).to_pylist()}


@pytest.mark.soak
def test_an_editor_that_hangs_with_the_interpreters_lock_fails_its_record_alone(tmp_path: Path) -> None:
    watch = Notes()
    rows = rows_of(tmp_path, watch, deadly({"rec-00002/1": "hold_lock"}))
    failed = {name: row["error_kind"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"rec-00002": "step_timeout"}
    row = rows["rec-00002"]
    assert "died 2 times at step 1 while" in row["error_message"]
    assert "it hung: it was ended" in row["error_message"]
    assert row["num_steps"] == 1 and row["image"] is not None
    assert sum("is ended" in note for note in watch.notes) >= 3
    stalls = [note for note in watch.notes if note.startswith("nothing has moved")]
    assert any("1 workers" in note and "has not answered for" in note for note in stalls)


@pytest.mark.soak
def test_a_stopped_process_is_ended_and_no_record_fails_for_it(tmp_path: Path) -> None:
    """As by a debugger, or a container that is frozen: it is nobody's fault, and happens once."""
    (tmp_path / "once").mkdir()
    watch = Notes()
    rows = rows_of(tmp_path, watch, deadly({"rec-00001/0": "stop"}, once=tmp_path / "once"))
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert any("has not answered for" in note and "is ended" in note for note in watch.notes)
