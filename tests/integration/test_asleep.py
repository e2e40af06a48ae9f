"""Drivers that were asleep while others took them for dead, and came and went: what they know is old."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mira_batch.catalogue.current import read_catalogue
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict
from mira_batch.runtime import busy, forget, prepare
from mira_batch.runtime.lease import Claim, Pace, lease, read_claim
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.place import take_number
from mira_batch.storage.catalogue.snapshot import list_numbers, read_snapshot
from mira_batch.storage.run.layout import LEASE, hash_form, read_run
from mira_batch.storage.stores import open_store
from tests.support.runs.disturbed import until
from tests.support.runs.nights import STEPS, Nights

BRISK = Pace(beat=0.05, stale=30.0)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(6)
    return found


def check_whole(nights: Nights) -> None:
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []


def sleep_before(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, meanwhile: Callable[[], object]
) -> None:
    """The next caller of this function is asleep first, and what others do `meanwhile` is done."""
    awake, slept = getattr(module, name), list[bool]()

    def asleep(*args: Any, **how: Any) -> Any:
        if not slept:
            slept.append(True)
            meanwhile()
        return awake(*args, **how)

    monkeypatch.setattr(module, name, asleep)


@pytest.mark.parametrize("moment", ["reuse_name", "write_plan"])
def test_a_plan_that_was_slept_over_is_not_made(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Else it would be the newest, and what it wants stand for what is wanted now."""
    nights.run()
    nights.rows["rec-0000"]["instruction"] = "blur it"

    def plan_anew() -> None:
        nights.open_catalogue().store.delete([LEASE])  # as of one that is taken for dead
        nights.rows["rec-0000"]["instruction"] = "mirror it"
        assert nights.run().ok == 1

    sleep_before(monkeypatch, prepare, moment, plan_anew)
    with pytest.raises(RunConflict, match="counted as dead; call it again"):
        nights.run()
    rows = read_catalogue(nights.output, ["record_id", "instruction"])
    assert dict(zip(*rows.to_pydict().values(), strict=True))["rec-0000"] == "mirror it"
    assert nights.run().planned == 1 and nights.edits == 7 * STEPS, (
        "the newest run stands, and nothing is new"
    )
    check_whole(nights)


def test_who_waits_for_a_planner_that_has_stopped_says_for_what_and_how_long(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.run()
    catalogue, notes = nights.open_catalogue(), list[str]()
    monkeypatch.setattr(busy, "lease", partial(lease, pace=Pace(beat=0.05, stale=0.5)))
    claim = Claim("beef", "far-away", 4242, "another machine", "2026-01-01T06:00:00", "2026-01-01T07:00:00")
    catalogue.store.put(LEASE, json.dumps(asdict(claim)).encode())
    with busy.begin_alone(catalogue, notes.append, lambda: None) as check_alone:
        assert check_alone is not None
    assert notes == [
        f"another driver is at work on the planning of this catalogue, or was: {claim}; waiting for its "
        "heartbeat, 0.5 s at most",
        f"taking the planning of this catalogue over from {claim}",
    ]


def test_who_waits_for_a_planner_at_work_says_so_once(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.run()
    catalogue, notes = nights.open_catalogue(), list[str]()
    monkeypatch.setattr(busy, "lease", partial(lease, pace=BRISK))
    left = ExitStack()
    left.enter_context(lease(catalogue.store, notes.append, notes.append, pace=BRISK))
    looks = iter(range(10))

    def look_up() -> None:
        if next(looks) == 5:
            left.close()

    with busy.begin_alone(catalogue, notes.append, look_up):
        pass
    assert [text.partition(":")[0] for text in notes] == [
        "another driver is at work on the planning of this catalogue, or was",
        "another run is just being planned",
    ]


def test_a_run_is_not_overtaken_by_a_number_of_its_own(nights: Nights) -> None:
    """Two drivers that plan a run at the same time take a number each, and one plan stands."""
    cut = nights.run(stop_after=2)
    form = hash_form(read_run(open_store(cut.run, StorageConfig()))["settings"])
    take_number(nights.open_catalogue(), cut.run_id, form, 0)
    again = nights.run()
    assert again.run_id == cut.run_id and again.complete and nights.edits == 6 * STEPS


def test_who_slept_forgets_nothing_though_its_heartbeat_goes_on(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.run()
    for row in list(nights.rows.values())[:5]:
        row["instruction"] = "mirror it"
    nights.run()
    before, runs, store = nights.current(), nights.runs(), nights.open_catalogue().store
    monkeypatch.setattr(busy, "lease", partial(lease, pace=BRISK))

    def come_and_go() -> None:
        first = read_claim(store)
        store.delete([LEASE])
        until(lambda: read_claim(store) is not None)
        now = read_claim(store)
        assert first is not None and now is not None and now.holder == first.holder

    sleep_before(monkeypatch, forget, "copy_rows", come_and_go)
    with pytest.raises(RunConflict, match="call it again"):
        forget.forget(nights.open_catalogue(), schema.RESULTS, forget.Retention(), lambda _: None)
    assert set(runs) <= set(nights.runs()) and nights.current() == before
    time.sleep(2 * BRISK.beat)
    assert read_claim(store) is None
    assert forget.forget(nights.open_catalogue(), schema.RESULTS, forget.Retention(), lambda _: None).copied
    assert nights.current() == before
    check_whole(nights)


def test_a_snapshot_that_was_slept_over_is_folded_anew(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is free: others have made that snapshot and the next one, and have forgotten it."""
    nights.run()

    def fold_and_forget() -> None:
        nights.open_catalogue().output.delete(
            [f"{nights.runs()[0]}/{LEASE}"]
        )  # as of one that is taken for dead
        for words in ("blur it", "mirror it"):
            nights.rows["rec-0001"]["instruction"] = words
            nights.run()
        for store in map(nights.open_catalogue().output.locate, nights.runs()):
            open_store(store, StorageConfig()).delete([LEASE])
        forget.forget(nights.open_catalogue(), schema.RESULTS, forget.Retention(), lambda _: None)

    nights.rows["rec-0000"]["instruction"] = "mirror it"
    write = SnapshotWriter.add
    slept = list[bool]()

    def write_and_sleep(writer: SnapshotWriter, rows: pa.Table) -> None:
        write(writer, rows)
        if not slept:
            slept.append(True)
            fold_and_forget()

    monkeypatch.setattr(SnapshotWriter, "add", write_and_sleep)
    assert nights.run().complete
    store = nights.open_catalogue().store
    for snapshot in (read_snapshot(store, number) for number in list_numbers(store)):
        assert snapshot is None or all(store.exists(key) for key in snapshot.files), snapshot.number
    check_whole(nights)
