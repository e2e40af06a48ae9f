"""A night as a scheduler gives it: named after the day, told in the morning, alerted on when it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch.catalogue.health import Night, find_drift, read_nights
from mira_batch.config.shared import StorageConfig
from mira_batch.runtime.lease import lease
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.stores import open_store
from tests.support import ROOT
from tests.support.models.counted import counted
from tests.support.runs.disturbed import until
from tests.support.runs.nights import STEPS, Nights, in_background
from tests.support.runs.program import call


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(12)
    return found


def nightly(nights: Nights, *words: str, job: bool = False) -> subprocess.CompletedProcess[str]:
    config = nights.configure().model_dump(mode="json")
    (nights.folder / "c.yaml").write_text(yaml.safe_dump(config))
    if not job:
        return call("nightly", "--config", "c.yaml", *words, folder=nights.folder)
    command = [sys.executable, str(ROOT / "jobs" / "nightly.py"), "--config", "c.yaml", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=nights.folder, env=env, capture_output=True, text=True, timeout=120)


def told(nights: Nights) -> list[Night]:
    return read_nights(open_catalogue(str(nights.folder / "out"), "edit", StorageConfig()))


def today() -> str:
    return f"night-{datetime.now(UTC):%Y-%m-%d}"


def test_nights_of_a_catalogue(nights: Nights) -> None:
    first = nightly(nights)
    assert first.returncode == 0, first.stderr
    assert re.search(rf"^night +\S+  {today()}  in 0:00:", first.stdout, re.MULTILINE)
    assert "12 of 12: 12 ok, 0 unfinished, 0 failed" in first.stdout and "12 new" in first.stdout
    assert "12 records, the newest good result is of tonight" in first.stdout
    again = nightly(nights, job=True)
    assert again.returncode == 0 and "nothing to do" in again.stdout and nights.edits == 12 * STEPS
    nights.add(2)
    nights.rows["rec-0003"]["instruction"] = "mirror it"
    third = nightly(nights)
    assert "3 of 3: 3 ok" in third.stdout and "2 new, 1 instruction changed, 11 unchanged" in third.stdout
    assert nights.runs() == [today(), f"{today()}-2"]
    assert [night.committed for night in told(nights)] == [3, 0, 12]
    assert len(nights.current()) == 14


def test_a_night_that_fails_is_told_to_whoever_wants_to_know(nights: Nights, tmp_path: Path) -> None:
    for name in nights.rows:
        (tmp_path / f"{name}.png").unlink()
    done = nightly(nights, "--alert-file", "alert.json", "--alert-command", "cat > said.json; echo said")
    assert done.returncode == 1 and "image_unreadable 12" in done.stdout and "said" not in done.stdout
    for name in ("alert.json", "said.json"):
        alert = json.loads((tmp_path / name).read_text())
        assert alert["problem"].startswith("12 of 12 records") and alert["errors"] == {"image_unreadable": 12}
    nights.rows.clear()
    broken = nightly(nights, "--alert-file", "alert.json", "--json")
    assert broken.returncode == 2 and "the manifest is empty" in json.loads(broken.stdout)["error"]
    assert "the manifest is empty" in json.loads((tmp_path / "alert.json").read_text())["problem"]
    assert [bool(night.problem) for night in told(nights)] == [True, True]


def test_an_alert_that_fails_takes_nothing_from_the_night(nights: Nights, tmp_path: Path) -> None:
    (tmp_path / "rec-0000.png").unlink()
    for name in list(nights.rows)[1:]:
        del nights.rows[name]
    done = nightly(nights, "--alert-file", "no/where.json", "--alert-command", "exit 3")
    assert done.returncode == 1 and done.stderr.count("no alert:") == 2
    assert "no/where.json can't be written: No such file or directory" in done.stderr


def test_of_two_nights_at_once_the_second_is_skipped(nights: Nights) -> None:
    cut = nights.run(stop_after=4)
    with lease(open_store(cut.run, StorageConfig()), lambda _: None, lambda _: None):
        skipped = nightly(nights)
        assert (skipped.returncode, skipped.stdout.split()[:2]) == (0, ["skipped:", cut.run_id])
        refused = nightly(nights, "--if-running", "fail")
        assert refused.returncode == 2 and "is at work on this catalogue" in refused.stderr
    assert nightly(nights).returncode == 0
    assert (nights.edits, nights.again, len(nights.current())) == (12 * STEPS, 0, 12)


def test_of_two_nights_given_at_the_same_time_one_runs_and_one_is_skipped(
    nights: Nights, tmp_path: Path
) -> None:
    """The same command twice, so that both mean the same run; the first is held at an edit."""
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-0002").touch()
    nights.editor = counted(nights.log, hold=hold)
    thread, first = in_background(lambda: nightly(nights))
    until(lambda: nights.edits)
    second = nightly(nights)
    assert (second.returncode, second.stdout.split()[:2]) == (0, ["skipped:", today()]), second.stderr
    (hold / "rec-0002").unlink()
    thread.join(60)
    assert first[0].returncode == 0, first[0].stderr
    assert (nights.edits, nights.again, nights.runs()) == (12 * STEPS, 0, [today()])


def make_night(ok: int, of: int, cost: float = 0.0) -> Night:
    return Night(
        "2026-11-26T01:00:00+00:00", "night", planned=of, committed=of, ok=ok, failed=of - ok, cost=cost
    )


def test_what_is_out_of_line_is_found_and_chance_is_not() -> None:
    steady = [make_night(98, 100, 1.0), make_night(97, 100, 1.01), make_night(98, 100, 0.99)] * 3
    assert find_drift(make_night(98, 100, 1.0), steady[:4]) == [], "four nights say nothing yet"
    rate, cost = find_drift(make_night(97, 100, 1.0), steady)
    assert not rate.out and not cost.out
    rate, cost = find_drift(make_night(70, 100, 5.0), steady)
    assert rate.out and cost.out and rate.tonight == 0.7 and rate.mean == pytest.approx(293 / 300)
    (small, _) = find_drift(make_night(3, 4, 0.03), steady)
    assert not small.out, "of four records one may fail by chance"
    assert find_drift(Night("2026-11-26T01:00:00+00:00", ""), steady) == []


def test_a_document_of_a_later_release_can_be_read(nights: Nights, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "catalogue" / "health"
    folder.mkdir(parents=True)
    document: dict[str, Any] = {"ended": "2026-11-26T01:00:00+00:00", "run": "night", "ok": 3, "mood": "good"}
    (folder / "00007.json").write_text(json.dumps(document))
    assert [night.ok for night in told(nights)] == [3]
