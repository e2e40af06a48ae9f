"""Records that a limit or a guard ends: neither ok nor failed, from the run to the catalogue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_catalogue, read_outputs, run
from mira_batch.config.edit import BulkEditConfig
from tests.support.runs.catalogue import settings

TWO = "turn it upside down and invert it"
INSTRUCTIONS = {"one": "mirror it", "two": TWO, "three": f"{TWO}, then blur it"}
EXPECTED = {"one": ("ok", "policy_stop", 1), "two": ("ok", "policy_stop", 2)}
EXPECTED |= {"three": ("unfinished", "max_steps", 2)}
"""With two edits at most: all of them are enough for `two`."""


def write_manifest(folder: Path, **instructions: str) -> Path:
    if not (folder / "a.png").exists():  # written again it would be another image
        ramp = Image.linear_gradient("L").resize((30, 20))
        turned = ramp.rotate(90).resize((30, 20))
        Image.merge("RGB", (ramp, turned, ramp)).save(folder / "a.png")
    rows = [{"record_id": n, "image": "a.png", "instruction": text} for n, text in instructions.items()]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "m.jsonl"


def a_config(folder: Path, *overrides: str, **more: Any) -> BulkEditConfig:
    base = settings(folder / "m.jsonl", folder / "out", limits={"max_steps": 2}, **more)
    return load_config(base, overrides)


def ends(run: str) -> dict[str, tuple[str, str, int]]:
    rows = read_outputs(run, ["record_id", "status", "stop_reason", "num_steps"]).to_pylist()
    return {row["record_id"]: (row["status"], row["stop_reason"], row["num_steps"]) for row in rows}


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mira_batch.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_an_edit_too_few_is_unfinished_and_as_many_as_may_be_are_enough(tmp_path: Path) -> None:
    write_manifest(tmp_path, **INSTRUCTIONS)
    summary = run(a_config(tmp_path))
    assert ends(summary.run) == EXPECTED
    assert (summary.ok, summary.unfinished, summary.failed) == (2, 1, 0)
    assert summary.stops == {"policy_stop": 2, "max_steps": 1}
    again = run(a_config(tmp_path))
    assert again.already == 3, "an unfinished record of the same run is committed, not run again"


@pytest.mark.parametrize("skip", [False, True])
def test_a_new_run_makes_unfinished_records_again_unless_it_is_told_otherwise(
    tmp_path: Path, skip: bool
) -> None:
    write_manifest(tmp_path, **INSTRUCTIONS)
    first = run(a_config(tmp_path))
    write_manifest(tmp_path, **INSTRUCTIONS, four="mirror it")
    second = run(a_config(tmp_path, f"output.skip_unfinished={str(skip).lower()}"))
    assert first.run_id != second.run_id
    assert second.skipped == (3 if skip else 2)
    assert set(ends(second.run)) == ({"four"} if skip else {"three", "four"})
    rows = read_catalogue(str(tmp_path / "out"), ["record_id", "status"]).to_pylist()
    assert {row["record_id"]: row["status"] for row in rows} == {
        "one": "ok", "two": "ok", "three": "unfinished", "four": "ok",
    }  # fmt: skip


def test_a_raised_limit_makes_an_unfinished_record_good(tmp_path: Path) -> None:
    write_manifest(tmp_path, **INSTRUCTIONS)
    run(a_config(tmp_path))
    more = run(load_config(settings(tmp_path / "m.jsonl", tmp_path / "out"), ["limits.max_steps=3"]))
    assert ends(more.run)["three"] == ("ok", "policy_stop", 3)
    rows = read_catalogue(str(tmp_path / "out"), ["record_id", "status"]).to_pylist()
    assert {row["status"] for row in rows} == {"ok"}


def test_every_command_says_how_many_are_unfinished(tmp_path: Path) -> None:
    write_manifest(tmp_path, **INSTRUCTIONS, unclear="frobnicate it")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings(tmp_path / "m.jsonl", tmp_path / "out", limits={"max_steps": 2})))
    ran = cli("run", "-c", path)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split(maxsplit=1) for line in ran.stdout.splitlines() if line.strip()]
    assert ["unfinished", "1  max_steps 1"] in [[a, b.strip()] for a, b in lines]
    assert ["ok", "2  policy_stop 2"] in [[a, b.strip()] for a, b in lines]
    for command in ("run", "status", "verify"):
        found = json.loads(cli(command, "-c", path, "--json").stdout)
        assert (found["ok"], found["unfinished"], found["failed"]) == (2, 1, 1), command
    verified = cli("verify", "-c", path)
    assert verified.returncode == 0
    assert "whole, not all good: 2 ok, 1 unfinished, 1 failed" in verified.stdout


def test_a_run_without_one_good_record_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings(tmp_path / "m.jsonl", tmp_path / "out", limits={"max_steps": 2})))
    write_manifest(tmp_path, three=INSTRUCTIONS["three"])
    ran = cli("run", "-c", path)
    assert ran.returncode == 1
    said = "none of 1 records is ok: 1 unfinished and 0 failed (max_steps 1)"
    assert f"none ok: {said}" in ran.stderr
    write_manifest(tmp_path, three=INSTRUCTIONS["three"], unclear="frobnicate it")
    ran = cli("run", "-c", path, "--json")
    assert ran.returncode == 1
    said = "none of 2 records is ok: 1 unfinished and 1 failed (max_steps 1, instruction_unclear 1)"
    assert json.loads(ran.stdout)["error"] == said


def test_an_editor_that_does_nothing_finishes_nothing(tmp_path: Path) -> None:
    write_manifest(tmp_path, one="mirror it", idle="black and white")
    idle = {"type": "simulated", "faults": [{"records": "idle", "does": "nothing"}]}
    summary = run(a_config(tmp_path, editor=idle, policy={"type": "rules"}))
    assert ends(summary.run)["idle"][:2] == ("unfinished", "no_progress")
    assert summary.unfinished >= 1 and summary.failed == 0
