"""The baseline without a loop: the whole instruction, once."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.models.embedded.passthrough import PassthroughPolicy
from tests.support.runs.catalogue import make_catalogue, settings


def test_every_record_is_one_edit_with_the_whole_instruction(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 5)
    choice = {"policy": {"type": "passthrough"}, "backend": "inline"}
    summary = run(load_config(settings(manifest, tmp_path / "out", **choice)))
    rows = read_outputs(summary.run, ["record_id", "status", "stop_reason", "models"]).to_pylist()
    steps = read_trajectories(summary.run, images=False).to_pylist()
    assert summary.complete and len(steps) == len(rows) == 5
    assert all(row["stop_reason"] == "policy_stop" and row["status"] == "ok" for row in rows)
    assert all(step["instruction"] == step["goal"] for step in steps)
    assert {row["models"]["policy"] for row in rows} == {"passthrough-policy/1"}


def test_an_instruction_that_no_editor_takes_at_once_fails_its_record() -> None:
    frame = frame_of(Image.new("RGB", (2, 2)))
    (answer,) = PassthroughPolicy().propose([PolicyRequest("r", "x" * 2_001, frame, frame, (), 0)])
    assert isinstance(answer, RecordError) and "2,001 characters" in str(answer)
