"""What is said of turns where there are none, and that who only asks begins none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.cli import app, main


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


BEGUN = '{"settings": {}, "current": {}}'
DATA = '{"uri": "d", "snapshot": "x", "samples": 5, "train": 4, "val": 1}'
ENDED = '{"turn": 1, "outcome": "not promoted", "promotion": null, "why": "no better"}'
ODD = json.dumps(
    json.loads(BEGUN)
    | json.loads(DATA)
    | json.loads(ENDED)
    | {
        "settings": [],
        "train": "4",
        "why": None,
        "verdict": "",
        "passed": True,
        "figures": {},
        "checks": None,
    }
)
"""All keys of all notes, with values of other types."""


def note(folder: Path, number: int, **notes: str) -> Path:
    own = folder / f"wheel/turns/{number:06d}"
    own.mkdir(parents=True)
    for name, text in notes.items():
        (own / f"{name}.json").write_text(text)
    return own


@pytest.mark.parametrize(
    "text",
    ['{"snapshot": "x"}', "", "[]", ODD],
    ids=["keys", "empty", "list", "types"],
)
def test_notes_that_are_damaged_are_named_beside_what_is_readable(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(app.err, "file", murmur := io.StringIO())
    note(tmp_path, 1, turn=BEGUN, data=DATA, result=text)
    own = note(tmp_path, 2, turn=BEGUN, data=DATA, result=ENDED, comparison=text)
    note(tmp_path, 3, turn=text)
    promoted = note(tmp_path, 4, turn=BEGUN, data=text).parents[1] / "promoted"
    promoted.mkdir()
    (promoted / "000001.json").write_text(text)
    asked = ["flywheel", "--config", write_config(tmp_path), "--status"]
    assert main([*asked, "--json"]) == 2
    found = json.loads(capfd.readouterr().out)
    assert [[*each["damaged"]] for each in found["turns"]] == [["result"], ["comparison"], ["turn"], ["data"]]
    assert found["turns"][1]["data"]["samples"] == 5 and found["turns"][1]["comparison"] is None
    assert found["current"] is None and found["current_damaged"] and len(found["problems"]) == 5
    assert f"{own}/comparison.json: is damaged (" in found["problems"][1]
    assert "restore it, or delete it: the same command notes it again" in found["problems"][1]
    assert "restore it, or promote another: mira-batch promote" in found["problems"][4]
    assert main(asked) == 2
    lines = capfd.readouterr().out.splitlines()
    assert lines[:3] == ["turn 1: has ended, and how can't be read", "  result.json is damaged", lines[2]]
    assert "turn 2: not promoted: no better" in lines and "  comparison.json is damaged" in lines
    assert "turn 3: open; samples are to be made" in lines
    assert "turn 4: open; the current policy is to be tried" in lines
    assert lines[-1] == f"the current promotion in {promoted} is damaged"
    assert murmur.getvalue().count(f"damaged: {own}/comparison.json: is damaged (") == 2


def test_an_abandoned_turn_is_no_problem_whatever_became_of_its_notes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path, 1, turn="", data=ODD, result=ENDED.replace("not promoted", "abandoned"))
    assert main(["flywheel", "--config", write_config(tmp_path), "--status"]) == 0
    assert "  turn.json is damaged" in capfd.readouterr().out


@pytest.mark.parametrize("place", ["wheel", "wheel/promoted"])
def test_a_place_that_is_a_file_is_called_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    assert main(["flywheel", "--config", write_config(tmp_path), "--status", "--json"]) == 2
    assert f"{place}: is a file, not a directory" in json.loads(capfd.readouterr().out)["error"]
