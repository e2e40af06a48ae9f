"""An alert for each cause, not one for each morning; and nights whose notes are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_nightly import nightly, told
from tests.support.runs.nights import Nights


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(3)
    return found


def call(nights: Nights, day: str, code: int = 0, alert: bool = False, **settings: str) -> dict[str, Any]:
    """A night of this name; whether it alerts is as expected."""
    file = nights.folder / "alert.json"
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done = nightly(nights, "--alert-file", str(file), "--json", "--set", f"run_id={day}", *sets)
    assert done.returncode == code, done.stderr
    assert file.exists() == alert, done.stdout
    file.unlink(missing_ok=True)
    return json.loads(done.stdout)


def spoil(nights: Nights, *names: str) -> None:
    for name in names:
        (nights.folder / f"{name}.png").write_bytes(b"no image")


def test_a_finished_run_without_a_good_record_is_told_once(nights: Nights) -> None:
    spoil(nights, *nights.rows)
    first = call(nights, "monday", code=1, alert=True)
    assert first["night"]["problem"].startswith("3 of 3 records")
    for _ in range(2):
        again = call(nights, "monday")
        assert again["night"]["known"] == first["night"]["problem"] and "error" not in again
        assert (again["night"]["run"], again["night"]["committed"]) == ("", 0), "it did nothing"
    assert (
        "3 of 3 records (image_unreadable 3); as a night before has told"
        in nightly(nights, "--set", "run_id=monday").stdout
    )
    assert [bool(night.problem) for night in told(nights)] == [False, False, False, True]


def test_what_fails_again_as_it_did_is_told_once(nights: Nights) -> None:
    """Each night is a run of its own, and tries failed records again."""
    spoil(nights, "rec-0001")
    assert call(nights, "monday")["night"]["errors"] == {"image_unreadable": 1}, "the others are good"
    for day in ("tuesday", "wednesday"):
        found = call(nights, day)
        assert (found["committed"], found["failed"]) == (1, 1)
        assert found["night"]["known"].startswith("1 of 1 records (image_unreadable 1)")
    nights.add(1)
    spoil(nights, "rec-0003")
    assert call(nights, "thursday", code=1, alert=True)["night"]["errors"] == {"image_unreadable": 2}
    assert call(nights, "friday")["night"]["known"]


def test_what_fails_otherwise_than_it_did_is_told(nights: Nights) -> None:
    spoil(nights, "rec-0001")
    call(nights, "monday")
    found = call(nights, "tuesday", code=1, alert=True, **{"input.max_bytes": "5"})
    assert found["causes"].keys() == {"failed", "unchanged"}, "nothing is new of the records"
    assert found["night"]["errors"] == {"image_too_large": 1}


def test_a_night_of_which_nobody_was_told_is_told(nights: Nights) -> None:
    """Its driver was killed between the last record and the alert, say."""
    spoil(nights, *nights.rows)
    assert not nights.run(more={"run_id": "monday"}).ok
    call(nights, "monday", code=1, alert=True)
    call(nights, "monday")


def test_a_damaged_note_of_a_night_is_left_out_and_named(nights: Nights) -> None:
    call(nights, "monday")
    folder = nights.folder / "out" / "catalogue" / "health"
    for number, text in enumerate(["half", "[]", '{"ended": "yesterday", "run": "r"}', '{"run": "r"}'], 2):
        (folder / f"{number:05d}.json").write_text(text)
    nights.add(1)
    done = nightly(nights, "--set", "run_id=tuesday")
    assert done.returncode == 0 and "1 of 1: 1 ok" in done.stdout
    assert done.stderr.count("It only says how a night went") == 4 and "run_id" not in done.stderr
    assert "catalogue/health/00002.json: is damaged" in done.stderr and "delete it" in done.stderr
    assert [night.run for night in told(nights)] == ["tuesday", "monday"]
    assert sorted(path.name for path in folder.iterdir())[-1] == "00006.json"
    assert (folder / "00002.json").read_text() == "half", "what may be mended is kept"


def test_a_night_whose_config_is_wrong_is_told(nights: Nights) -> None:
    assert (
        "limits.max_cost" in call(nights, "monday", code=2, alert=True, **{"limits.max_cost": "5"})["error"]
    )


def test_a_night_with_nothing_to_do_does_not_say_why_an_earlier_one_ran(nights: Nights) -> None:
    assert "3 new" in nightly(nights, "--set", "run_id=monday").stdout
    again = nightly(nights, "--set", "run_id=monday").stdout
    assert "nothing to do" in again and "new" not in again.replace("newest", "")


def test_a_night_that_has_nothing_to_do_since_records_are_gone_says_so_once(nights: Nights) -> None:
    nightly(nights, "--set", "run_id=monday")
    del nights.rows["rec-0001"], nights.rows["rec-0002"]
    lost = nightly(nights, "--set", "run_id=tuesday").stdout
    assert "nothing to do" in lost and "1 unchanged" in lost and "2 gone from the manifest" in lost
    assert "gone" not in nightly(nights, "--set", "run_id=tuesday").stdout, "it was told"
