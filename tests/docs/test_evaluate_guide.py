"""The guide to evaluations, command by command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.blocks import commands
from tests.docs.guides import Terminal, write_files
from tests.support.runs.catalogue import make_catalogue

GUIDE = "docs/evaluate.md"


def test_the_guide_to_evaluations(tmp_path: Path, terminal: Terminal) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 16)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_files(GUIDE, tmp_path)
    said = [
        terminal(f"{line} --set backend=inline" if "compare" not in line else line, tmp_path)
        for line in commands(GUIDE)
    ]
    judged, (shot, first, pairs, beside, report) = said[3:6], said[6:]
    assert all("16 of 16 records judged" in text and "canary, a black image" in text for text in judged)
    assert "verdict: No difference is shown" in shot and "gate overall>=-0.05: passed" in shot
    assert "verdict: B is better (+0." in first
    assert "report: " in first and (tmp_path / "compare.html").stat().st_size > 100_000
    assert "16 of 16 records compared" in pairs and "B preferred in " in pairs and "A 0" in pairs
    assert "; pairs agree: B in " in " ".join(beside.split()) and "gate pairwise>=0.45: passed" in beside
    assert "scores/loop: 16 about results of this run" in report
