"""The guide to benchmarks, command by command, on small data sets of the same form and with a real server."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mira_batch.cli import main
from mira_batch.models.judges import IMGEDIT_AXES
from tests.docs.blocks import commands
from tests.docs.guides import write_files
from tests.support.published import (
    editscore_rows,
    gedit_rows,
    save_editscore,
    save_gedit,
    save_imgedit,
    save_magicbrush,
)
from tests.support.servers.models import Answer, Asked, model_server

GUIDE = "docs/editing-benchmarks.md"


def answer(asked: Asked) -> Answer:
    """Whatever protocol asks."""
    for axes in IMGEDIT_AXES.values():
        if all(f"{axis}: a number from 1 to 5" in asked.text for axis in axes):
            return Answer("\n".join(f"{axis}: 4" for axis in axes))
    return Answer(json.dumps({"reasoning": "so", "score": [8, 7]}))


def test_the_guide_to_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process: starting so many of them would take most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    save_gedit(tmp_path / "GEdit-Bench", gedit_rows(), "parquet")
    save_imgedit(tmp_path / "Benchmark" / "singleturn")
    save_magicbrush(tmp_path / "MagicBrush" / "test")
    save_editscore(tmp_path / "EditReward-Bench", editscore_rows())
    write_files(GUIDE, tmp_path)
    said = {}
    with model_server(answer) as server:
        here = ["--set", "backend=inline", "--set", f"judge.backend.base_url={server.url}"]
        for line in commands(GUIDE):
            program, *words = shlex.split(line)
            assert program == "mira-batch"
            capfd.readouterr()
            assert main([*words, *(here if words[0] == "evaluate" else ())]) == 0, line
            said[line] = capfd.readouterr().out
    tables = [text for line, text in said.items() if "benchmark table" in line]
    assert len(tables) == 5 and not any("INCOMPLETE" in text for text in tables)
    assert all("0 failed, 0 missing" in text for text in tables)
    gedit, imgedit, single, multi, pairs = tables
    assert "macro mean of the 11 groups" in gedit and "GEdit-Bench, cn" in gedit
    assert "macro mean of the 9 types" in imgedit and "judged by imgedit-form/1" in imgedit
    assert "multi-turn, were nothing edited" in multi and "no multi-turn" in single
    assert pairs.count("ties are wrong (13)") == 3, "it says the same of all edits"
    assert len(list((tmp_path / "results" / "mine" / "fullset").rglob("*.png"))) == 2 * 22
    assert len(list((tmp_path / "edited_images").iterdir())) == 9
    assert len(list((tmp_path / "testResults").rglob("*.png"))) == 9
    assert len(list((tmp_path / "official").rglob("*.jsonl"))) == 39
