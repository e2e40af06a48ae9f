"""What nobody needs any more is deleted, and nothing else, wherever the deletion is cut off."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mira_batch.catalogue.current import read_catalogue
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.runtime.forget import Forgetting, Retention, forget
from mira_batch.runtime.lease import lease
from mira_batch.storage import schema
from mira_batch.storage.catalogue import snapshot
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.decided import read_verdicts
from mira_batch.storage.catalogue.rollback import roll_back
from mira_batch.storage.catalogue.snapshot import list_numbers, list_snapshots
from mira_batch.storage.run.decisions import keep_decisions
from mira_batch.storage.run.results import read_outputs
from mira_batch.storage.stores import Store, open_store
from tests.support.runs.cuts import Cut, cut_off
from tests.support.runs.edits import verify_edits
from tests.support.runs.nights import STEPS, Nights

OTHER = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Three nights: the second changes 18 of 20 records, the third tries another setting on all of them."""
    found = Nights(tmp_path)
    found.add(20)
    found.run()
    for name in list(found.rows)[:18]:
        found.rows[name]["instruction"] = "mirror it"
    found.run()
    return found


def drop(nights: Nights, dry: bool = False, **keep: int) -> Forgetting:
    return forget(nights.open_catalogue(), schema.RESULTS, Retention(**keep), lambda _: None, dry)


def look(nights: Nights) -> pa.Table:
    """All that the catalogue has, images too."""
    return read_catalogue(str(nights.folder / "out")).sort_by("record_id")


def check_whole(nights: Nights) -> None:
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []


def test_superseded_rows_go_and_the_catalogue_stays(nights: Nights) -> None:
    before, runs = look(nights), nights.runs()
    planned = drop(nights, dry=True)
    assert (look(nights), nights.runs()) == (before, runs), "a dry run changes nothing"
    done = drop(nights)
    assert done == planned and list(done.copied.values()) == [2] and not done.deleted
    (first,) = done.copied
    assert nights.runs() == sorted({*runs, f"{first}.kept1"} - {first})
    assert look(nights).equals(before)
    check_whole(nights)
    assert nights.plan().planned == 0 and nights.run().complete and nights.edits == 38 * STEPS
    assert drop(nights) == Forgetting([], list_numbers(nights.open_catalogue().store), {}, {}, done.rows), (
        "and once is enough"
    )
    kept = open_store(str(nights.folder / "out" / f"{first}.kept1"), StorageConfig())
    verdict = verify_edits(kept)
    assert verdict.whole and verdict.committed == 2


def decide(nights: Nights, run: str, record: str) -> tuple[str, str]:
    """Have a result of a run approved."""
    store = open_store(f"{nights.output}/{run}", StorageConfig())
    rows = read_outputs(store.uri, ["record_id", "result_digest"]).to_pylist()
    (digest,) = (row["result_digest"] for row in rows if row["record_id"] == record)
    said = {"record_id": record, "result_digest": digest, "decision": "approve"}
    keep_decisions(store, StorageConfig(), json.dumps(said).encode(), "d.jsonl")
    return record, digest


def test_decisions_go_along_with_the_results_that_they_are_about(nights: Nights) -> None:
    (first,) = drop(nights, dry=True).copied
    approved = decide(nights, first, "rec-0019")
    assert drop(nights).decisions == {}
    verdicts = read_verdicts(f"{nights.output}/{first}.kept1", StorageConfig(), "decisions")
    assert verdicts == {approved: "approve"}
    for row in nights.rows.values():
        row["instruction"] = "blur it"
    nights.run()
    assert drop(nights, dry=True).decisions == drop(nights).decisions == {f"{first}.kept1": 1}


def test_a_run_of_which_nothing_is_needed_goes_whole(nights: Nights) -> None:
    for row in nights.rows.values():
        row["instruction"] = "blur it"
    third = nights.run()
    before = look(nights)
    assert len(drop(nights).deleted) == 2 and nights.runs() == [third.run_id]
    assert look(nights).equals(before)
    check_whole(nights)
    for row in nights.rows.values():
        row["instruction"] = "mirror it"
    assert nights.plan().planned == 20, "what was forgotten would be made again"


def test_a_kept_snapshot_can_be_gone_back_to(nights: Nights) -> None:
    old = roll_back_and_look(nights, 1)
    nights.run(more=OTHER)
    done = drop(nights, last=9)
    assert done.snapshots == [] and not done.deleted and not done.copied
    numbers = list_numbers(nights.open_catalogue().store)
    assert roll_back_and_look(nights, min(numbers)).equals(old)


def roll_back_and_look(nights: Nights, number: int) -> pa.Table:
    roll_back(nights.open_catalogue(), number)
    found = look(nights)
    roll_back(nights.open_catalogue(), list_numbers(nights.open_catalogue().store)[1])
    return found


def test_results_of_other_settings_are_forgotten_too_but_not_what_a_plan_wants(nights: Nights) -> None:
    """A trial that the night came back from: its plan only points to what there was."""
    nights.run(more=OTHER)
    back = nights.run()
    before = look(nights)
    assert back.planned == 0
    drop(nights)
    assert look(nights).equals(before) and nights.plan().planned == 0
    check_whole(nights)


def test_snapshots_of_a_clock_that_stands_are_told_apart(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Stopped:
            return cls(2026, 3, 1, 6, tzinfo=tz)

    monkeypatch.setattr(snapshot, "datetime", Stopped)
    for instruction in ("blur it", "make it sepia", "crop it square"):
        nights.rows["rec-0000"]["instruction"] = instruction
        nights.run()
    roll_back(nights.open_catalogue(), max(list_numbers(nights.open_catalogue().store)) - 1)
    assert len(drop(nights, last=4).kept) == 4
    assert len({entry.created for entry in list_snapshots(nights.open_catalogue().store)}) == 4
    check_whole(nights)


def test_while_a_run_is_at_work_nothing_is_forgotten(nights: Nights) -> None:
    nights.rows["rec-0000"]["instruction"] = "blur it"
    nights.add(40)
    cut = nights.run(stop_after=4)
    assert not cut.complete
    store = open_store(cut.run, StorageConfig())
    with lease(store, lambda _: None, lambda _: None), pytest.raises(RunConflict, match="let it finish"):
        drop(nights)
    before = look(nights)
    drop(nights)
    assert look(nights).equals(before) and nights.run().complete, "a run that was cut short can go on"


@pytest.mark.parametrize("seed", range(12))
def test_cut_off_anywhere_nothing_that_is_needed_is_lost(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Killed after a random number of writes and deletions; then asked for again."""
    nights.run(more=OTHER)
    nights.run()
    before = look(nights)
    after = random.Random(seed).randrange(1, 60)
    with suppress(Cut), cut_off(monkeypatch, after):
        drop(nights)
    (nights.folder / "out" / "catalogue" / "lease.json").unlink(missing_ok=True)
    assert look(nights).equals(before), "cut off"
    drop(nights)
    assert look(nights).equals(before) and nights.plan().planned == 0
    check_whole(nights)
    named = {name.rsplit(".kept", 1)[0] for name in nights.runs()}
    assert len(named) == len(nights.runs()), "what the first call left is gone"


def test_a_store_that_fails_deletes_loses_nothing(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    before = look(nights)

    def refuse(self: Store, keys: Any) -> None:
        if list(keys):
            raise StoreError("may not delete")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", refuse)
        with pytest.raises(StoreError, match="may not delete"):
            drop(nights)
    (nights.folder / "out" / "catalogue" / "lease.json").unlink(missing_ok=True)
    assert look(nights).equals(before)
    drop(nights)
    assert look(nights).equals(before)
    check_whole(nights)


def test_what_is_needed_and_gone_stops_it(nights: Nights) -> None:
    """A result file of the first run is missing, of which two rows are still needed."""
    first = nights.runs()
    results = [path for name in first for path in (nights.folder / "out" / name / "results").iterdir()]
    owner = min(results, key=lambda path: path.stat().st_mtime).parent
    kept = list(owner.iterdir())
    aside = nights.folder / "aside"
    aside.mkdir()
    for path in kept:
        shutil.move(path, aside)
    with pytest.raises(StoreError, match="is gone, and the catalogue needs it"):
        drop(nights)
    for path in aside.iterdir():
        shutil.move(path, owner)
    drop(nights)
    check_whole(nights)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ({}, {9}),
        ({"last": 3}, {9, 8, 7}),
        ({"daily": 3}, {9, 7, 6}),
        ({"weekly": 2}, {9, 5}),
        ({"daily": 2, "monthly": 3}, {9, 7, 3, 1}),
        ({"yearly": 5}, {9, 1}),
    ],
)
def test_the_last_of_each_day_week_month_and_year_is_kept(keep: dict[str, int], kept: set[int]) -> None:
    created = {
        1: "2025-12-31T23:00:00+00:00",
        2: "2026-10-30T01:00:00+00:00",
        3: "2026-10-31T01:00:00+00:00",
        4: "2026-11-19T01:00:00+00:00",
        5: "2026-11-22T01:00:00+00:00",  # a Sunday
        6: "2026-11-23T01:00:00+00:00",
        7: "2026-11-24T01:00:00+00:00",
        8: "2026-11-26T01:00:00+00:00",
        9: "2026-11-26T02:00:00+00:00",
    }
    assert Retention(**keep).choose(created) == kept


@pytest.fixture
def forgotten(tmp_path: Path) -> Nights:
    """A catalogue whose first run, `mine`, is forgotten, since all was asked for otherwise later."""
    (tmp_path / "own").mkdir()
    nights = Nights(tmp_path / "own")
    nights.add(6)
    nights.run(more={"run_id": "mine"})
    for row in nights.rows.values():
        row["instruction"] = "mirror it"
    nights.run()
    drop(nights)
    assert "mine" not in nights.runs()
    for row in nights.rows.values():
        row["instruction"] = "make it sepia"
    return nights


def test_a_run_may_have_the_name_of_one_that_is_forgotten(forgotten: Nights) -> None:
    again = forgotten.run(more={"run_id": "mine"})
    assert (again.run_id, again.ok) == ("mine", 6)
    drop(forgotten)
    drop(forgotten)
    assert forgotten.owners() == {"mine"} and forgotten.plan().planned == 0


def test_what_is_left_of_a_forgotten_run_is_no_part_of_another(forgotten: Nights) -> None:
    left = Path(forgotten.output, "mine", "results", "part-00000.parquet")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"the store failed in the middle of deleting it")
    with pytest.raises(RunConflict, match="what is left of a run that was forgotten"):
        forgotten.run(more={"run_id": "mine"})
    drop(forgotten)
    assert not left.exists()
    assert forgotten.run(more={"run_id": "mine"}).ok == 6


def test_a_dry_run_leaves_what_an_earlier_call_could_not_delete(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in nights.rows.values():
        row["instruction"] = "blur it"
    nights.run()
    delete = Store.delete

    def keep_results(self: Store, keys: Any) -> None:
        keys = list(keys)
        if any("results" in key for key in keys):
            raise StoreError("may not delete")
        delete(self, keys)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", keep_results)
        with pytest.raises(StoreError):
            drop(nights)
    left = sorted(path for path in (nights.folder / "out").rglob("*") if path.is_file())
    drop(nights, dry=True)
    assert sorted(path for path in (nights.folder / "out").rglob("*") if path.is_file()) == left
    drop(nights)
    assert len(nights.runs()) == 1
