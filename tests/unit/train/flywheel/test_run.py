"""What is said of turns where there are none, and that who only asks begins none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.cli import main


def write_config(folder: Path) -> str:
    given: dict[str, Any] = {
        "output": {"uri": str(folder / "wheel")},
        "samples": {"sources": [{"type": "runs", "uri": str(folder / "nights")}]},
        "train": {"model": {"weights": str(folder / "base")}, "max_steps": 1},
        "edit": {"input": {"manifest": str(folder / "heldout.parquet")}},
        "evaluate": {"judge": {"type": "rules"}},
        "backend": "inline",
    }
    file = folder / "flywheel.json"
    file.write_text(json.dumps(given))
    return str(file)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (["--abandon", ""], "--abandon: say why"),
        (["--abandon", "", "--status"], "give --status or --abandon, one of them"),
        (["--abandon", "a typo"], "there is no such directory, so no turn was begun there"),
        (["--status"], "there is no such directory, so no turn was begun there"),
    ],
)
def test_who_asks_begins_no_turn(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], asked: list[str], problem: str
) -> None:
    assert main(["flywheel", "--config", write_config(tmp_path), *asked, "--json"]) == 2
    assert problem in json.loads(capfd.readouterr().out)["error"]
    assert not (tmp_path / "wheel").exists()


def test_a_place_that_is_not_there_has_nothing_promoted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wheel").mkdir()
    assert main(["flywheel", "--config", write_config(tmp_path), "--status"]) == 0
    assert capfd.readouterr().out.startswith("nothing is promoted yet in ")


def test_a_note_that_lacks_what_it_should_hold_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "wheel/turns/000001"
    own.mkdir(parents=True)
    (own / "turn.json").write_text('{"settings": {}, "current": {}}')
    (own / "data.json").write_text('{"snapshot": "x"}')
    assert main(["flywheel", "--config", write_config(tmp_path), "--status", "--json"]) == 2
    assert f"{own}/data.json: is damaged (it lacks" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.parametrize("place", ["wheel", "wheel/promoted"])
def test_a_place_that_is_a_file_is_called_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    assert main(["flywheel", "--config", write_config(tmp_path), "--status", "--json"]) == 2
    assert f"{place}: is a file, not a directory" in json.loads(capfd.readouterr().out)["error"]
