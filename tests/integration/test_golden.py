"""Golden trajectories of the sample catalogue: a change of meaning or pixels shows as a diff.

When the change is meant, write them anew and read the diff:  python -m tests.integration.test_golden
Digests are of decoded pixels and hold for the pinned Pillow.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mira_batch import load_config, read_outputs, read_trajectories, run
from tests.support import ROOT
from tests.support.runs.catalogue import SAMPLE, settings

GOLDEN = ROOT / "tests" / "golden" / "sample.json"


def trajectories(output: Path) -> dict[str, Any]:
    """record_id -> how the loop went on the sample, without anything that depends on time or place."""
    summary = run(load_config(settings(SAMPLE / "manifest.jsonl", output)))
    found: dict[str, Any] = {
        row["record_id"]: {
            "instruction": row["instruction"],
            "ended": row["stop_reason"] or row["error_kind"],
            "size": [row["width"], row["height"]],
            "source": row["source_digest"],
            "final_thought": row["final_thought"],
            "steps": [],
        }
        for row in read_outputs(summary.run).sort_by("record_id").to_pylist()
    }
    steps = read_trajectories(summary.run, images=False)
    for step in steps.sort_by([("record_id", "ascending"), ("index", "ascending")]).to_pylist():
        kept = {key: step[key] for key in ("instruction", "thought", "after")}
        found[step["record_id"]]["steps"].append(kept)
    return found


def test_the_sample_goes_as_it_went(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    now = trajectories(tmp_path / "out")
    assert now.keys() == golden.keys()
    for name, trajectory in now.items():
        assert trajectory == golden[name], name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(trajectories(Path(folder)), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n")
