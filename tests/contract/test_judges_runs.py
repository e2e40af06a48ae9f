"""The edit job gated by a judge of each kind, over a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.models.checks import check_model
from tests.contract.judge_calls import (
    drawn,
    gemini,
    judging,
    openai,
    panel,
)
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.servers.bodies import gemini_text
from tests.support.servers.models import Answer, Asked, ModelServer, chat_json

pytestmark = pytest.mark.usefixtures("clean_environment")


def kinds(server: ModelServer) -> dict[str, dict[str, Any]]:
    """A judge of each kind."""
    backend = openai(server)
    vie = {"type": "viescore", "backend": gemini(server)}
    return {
        "viescore": vie,
        "editscore": {"type": "editscore", "passes": 2, "backend": backend},
        "score_logit": {"type": "score_logit", "backend": backend},
        "imgedit": {"type": "imgedit", "task_key": "kind", "backend": backend},
        "pairwise": {"type": "pairwise", "backend": backend},
        "panel": panel({"vie": vie, "drawn": drawn(0.5)}, combine="min"),
    }


CALLS = {"viescore": 2, "editscore": 4, "score_logit": 1, "imgedit": 1, "pairwise": 2, "panel": 2}


@pytest.mark.parametrize("kind", list(CALLS))
def test_a_run_is_gated_by_a_judge_of_each_kind(tmp_path: Path, server: ModelServer, kind: str) -> None:
    def script(asked: Asked) -> Answer:
        if "sepia" in asked.text:
            said = chat_json(None, refusal="no") if asked.body.get("logprobs") else "I'm sorry, I can't."
            return Answer(said if asked.kind == "chat" else gemini_text("我无法评价。"))
        return judging(asked)

    server.script = script
    manifest = make_catalogue(tmp_path / "catalogue", 6)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    kinds_of_edit = ["add", "remove", "paint", "style", "add", "add"]
    with manifest.open("w") as file:
        for row, edit in zip(rows, kinds_of_edit, strict=True):
            file.write(json.dumps({**row, "kind": edit}) + "\n")
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="inline",
            policy={"type": "simulated", "steps": {"exact": {"*": 2}}},
            editor={"type": "simulated"},
            judge={"model": kinds(server)[kind], "attempts": 2},
        )
    )
    check_model(config.judge.model)
    summary = run(config)
    names = ["record_id", "instruction", "status", "error_kind", "error_message", "cost", "models"]
    outputs = read_outputs(summary.run, names).to_pylist()
    failed = {row["record_id"]: row for row in outputs if row["status"] == "failed"}
    refused = [row for row in failed.values() if row["error_kind"] == "judge_refused"]
    assert refused and all("sepia" in row["instruction"] for row in refused)
    assert all(row["cost"] == pytest.approx(0.25 * CALLS[kind]) for row in refused)
    others = [row for row in failed.values() if row["error_kind"] != "judge_refused"]
    if kind == "imgedit":
        (row,) = others
        assert row["error_kind"] == "judge_failed" and "metadata.kind" in row["error_message"]
        assert "'paint'" in row["error_message"]
    else:
        assert not others
    steps = read_trajectories(summary.run).select(["accepted", "score"]).to_pylist()
    assert steps and all(0 <= step["score"] <= 1 for step in steps)
    assert all(step["accepted"] <= (step["score"] > 0) for step in steps)
    assert summary.cost == pytest.approx(0.25 * len(server.asked))
    assert all(str(config.judge.model.type).replace("_", "-") in row["models"]["judge"] for row in outputs)
