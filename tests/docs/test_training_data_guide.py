"""The guide to training data, command by command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.blocks import commands
from tests.docs.guides import Terminal, write_files
from tests.support.runs.catalogue import make_catalogue

GUIDE = "docs/training-data.md"


def test_the_guide_to_training_data(tmp_path: Path, terminal: Terminal) -> None:
    make_catalogue(tmp_path / "catalogue", 12)
    write_files(GUIDE, tmp_path)
    config = tmp_path / "construct.yaml"  # which runs no workers
    config.write_text(config.read_text().replace("backend: inline\n", ""))
    lines = commands(GUIDE)
    said = [
        terminal(f"{line} --set backend=inline" if n == 1 else line, tmp_path) for n, line in enumerate(lines)
    ]
    assert (
        "select: chosen 12, trajectories 12" in said[2]
        and "strictest licence of a source: CC0-1.0" in said[2]
    )
    assert said[3].startswith("trl-sft: train ") and "prompt mira-prompt/1" in said[3]
    card = json.loads((tmp_path / "data" / "card.json").read_text())
    assert card["samples"] == 33 and set(card["counts"]["split"]) == {"train", "val"}
    assert (tmp_path / "trl" / "train-00000.parquet").is_file()
