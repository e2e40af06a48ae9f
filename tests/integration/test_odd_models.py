"""A user's own models that go wrong in ways no Protocol foresees: one record fails, or the run ends with one
line; never does it hang, and never does a neighbour suffer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch import load_config, read_outputs, run
from mira_batch.core.errors import ConfigError, EngineDead
from mira_batch.core.text import MOST_MESSAGE
from tests.support import ROOT
from tests.support.models.odd import odd
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, assert_whole

PATIENCE = 120
"""Seconds after which a run that hangs is given up."""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five records, one of them odd."""
    path = make_catalogue(tmp_path / "catalogue", 5)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[2]["record_id"] = "odd-1"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def run_odd(manifest: Path, models: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows by record."""
    config = load_config(settings(manifest, manifest.parent / "out", **models))
    summary = run(config)
    assert_whole(summary.run, config, 5)
    return {row["record_id"]: row for row in read_outputs(summary.run).to_pylist()}


FAILS = {
    "mute": "Mute (its text can't be had",
    "mute-runtime": "MuteRuntime (its text can't be had",
    "hostile": "ValueError: \x1b[31mred",
    "unpicklable": "Unpicklable: 1 2",
    "stop-iteration": "StopIteration: s",
    "returned-mute": "Mute (its text can't be had",
    "returned-exit": "returned a SystemExit, not a PIL image",
    "class": "returned a type, not a PIL image",
    "exiting-image": "SystemExit: 4",
    "all-none": "returned a NoneType, not a list of answers",
    "all-few": "the model gave 0 answers to a call of 1 request",
    "all-endless": "the model gave more than 1 answers to a call of 1 request",
    "all-mapping": "returned a dict, not a list of answers",
    "all-text": "returned a str, not a list of answers",
    "all-one": "not a list of answers",
}


@pytest.mark.parametrize(("way", "words"), FAILS.items())
def test_the_odd_record_fails_and_no_other(way: str, words: str, manifest: Path) -> None:
    rows = run_odd(manifest, odd(way=way))
    bad = rows.pop("odd-1")
    assert (bad["status"], bad["error_kind"]) == ("failed", "editor_failed")
    assert words in bad["error_message"] and len(bad["error_message"]) <= MOST_MESSAGE
    assert [row["status"] for row in rows.values()] == ["ok"] * 4


@pytest.mark.parametrize("way", ["exit", "interrupt", "base", "cancelled", "mute"])
def test_a_bucket_that_ends_its_thread_fails_its_record(way: str, manifest: Path) -> None:
    rows = run_odd(manifest, odd(bucket=way))
    assert rows.pop("odd-1")["error_kind"] == "editor_failed"
    assert [row["status"] for row in rows.values()] == ["ok"] * 4


@pytest.mark.parametrize("way", ["exit", "interrupt", "base", "cancelled", "generator-exit"])
def test_a_call_that_ends_its_thread_ends_the_process_s_run(way: str, manifest: Path) -> None:
    with pytest.raises(EngineDead, match="the model ended its thread: "):
        run_odd(manifest, odd(way=way))


@pytest.mark.parametrize(
    "way", ["exit", "interrupt", "base", "cancelled", "generator-exit", "mute", "hostile"]
)
def test_a_factory_that_does_not_come_back_is_named(way: str, manifest: Path) -> None:
    with pytest.raises(
        ConfigError, match="factory tests.support.models.odd:make_nothing of the editor raised "
    ):
        run_odd(manifest, odd("make_nothing", way=way))


def call(config: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [*CLI, "run", "--config", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def test_the_command_line_says_so_in_one_line(manifest: Path, tmp_path: Path) -> None:
    models = odd("make_nothing", way="exit")
    done = call(settings(manifest, tmp_path / "out", **models), tmp_path)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "factory tests.support.models.odd:make_nothing of the editor raised SystemExit: 3" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("identity", ["a\ud800", "x" * 100_000])
def test_an_identity_that_cannot_be_written_is_refused(identity: str, manifest: Path) -> None:
    with pytest.raises(ConfigError, match="identity should be valid Unicode, of at most 2,000 characters"):
        run_odd(manifest, odd(identity=identity))


def test_a_module_that_exits_when_it_is_imported_is_named(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_script.py").write_text("import sys; sys.exit('usage: a_script FILE')")
    monkeypatch.syspath_prepend(str(tmp_path))
    models = odd() | {"editor": {"type": "custom", "factory": "a_script:main"}}
    with pytest.raises(ConfigError, match=r"module a_script can't be imported \(SystemExit: usage: a_script"):
        run_odd(manifest, models)
