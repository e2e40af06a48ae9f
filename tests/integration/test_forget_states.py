"""States of a catalogue that are kept stay whole, wherever `forget` is cut off."""

from __future__ import annotations

import itertools
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.runtime.forget import Forgetting, Retention, forget
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter, read_bucket
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.rollback import roll_back
from mira_batch.storage.catalogue.snapshot import create_snapshot, find_newest, list_numbers, read_snapshot
from mira_batch.storage.run.layout import result_key
from tests.support.runs.cuts import Cut, cut_off
from tests.support.runs.nights import Nights
from tests.support.servers.s3 import S3Server


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return live_through(Nights(tmp_path))


def live_through(found: Nights) -> Nights:
    """Three nights: of the first run the second leaves two rows of twelve, and the third one."""
    found.add(12)
    found.run()
    for changed, instruction in ((10, "mirror it"), (11, "blur it")):
        for name in list(found.rows)[changed - 10 : changed]:
            found.rows[name]["instruction"] = instruction
        found.run()
    return found


def drop(nights: Nights, **keep: int) -> Forgetting:
    return forget(nights.open_catalogue(), schema.RESULTS, Retention(**keep), lambda _: None)


def look_at_states(nights: Nights) -> list[dict[str, tuple[str, str]]]:
    """Instruction and status of each record in each state, as its results say; the newest state first."""
    catalogue, found = nights.open_catalogue(), list[dict[str, tuple[str, str]]]()
    for number in list_numbers(catalogue.store):
        snapshot = read_snapshot(catalogue.store, number)
        if snapshot is None:
            continue
        state: dict[str, tuple[str, str]] = {}
        for bucket in range(len(snapshot.files)):
            rows = read_bucket(catalogue.store, snapshot, bucket)
            assert set(rows["run"].to_pylist()) <= snapshot.runs.keys()
            for row in rows.filter(rows["current"]).to_pylist():
                data = catalogue.output.get(f"{row['run']}/{result_key(row['shard'])}")
                assert data is not None, f"{row['run']} is gone, and snapshot {number} needs it"
                result = pq.read_table(pa.BufferReader(data)).slice(row["row"], 1).to_pylist()[0]
                state[result["record_id"]] = result["instruction"], result["status"]
        found.append(state)
    return found


@pytest.mark.parametrize("half", [0, 1])
def test_a_state_that_is_kept_is_whole_wherever_it_is_cut_off(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, half: int
) -> None:
    """Cut off at each of its writes and deletions, and asked for again; also for more than it was then."""
    kept = look_at_states(nights)[:2]
    whole, out, after = nights.folder / "whole", Path(nights.output), 1 + half
    shutil.copytree(out, whole)
    while True:
        cut = True
        with suppress(Cut), cut_off(monkeypatch, after) as told:
            assert drop(nights, last=2).copied
            cut = False
        if not cut:
            break
        (out / "catalogue" / "lease.json").unlink(missing_ok=True)
        drop(nights, last=2 + len(told) // 2 % 2)
        assert look_at_states(nights)[:2] == kept, f"cut off after {told}"
        assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == [], (
            f"cut off after {told}"
        )
        shutil.rmtree(out)
        shutil.copytree(whole, out)
        after += 2
    assert after > 20
    assert look_at_states(nights) == kept


@pytest.mark.s3
def test_cut_off_again_and_again_on_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call comes a little further."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    place, storage = f"s3://{s3.bucket}/forget-states", StorageConfig(endpoint_url=s3.endpoint)
    nights = live_through(Nights(tmp_path, place=place, storage=storage))
    kept = look_at_states(nights)[:2]
    for after in itertools.count(6, 3):
        done = False
        with suppress(Cut), cut_off(monkeypatch, after) as told:
            drop(nights, last=2)
            done = True
        nights.open_catalogue().store.delete(["lease.json"])
        assert look_at_states(nights)[0] == kept[0], f"cut off after {told}"
        if done:
            break
    assert look_at_states(nights) == kept
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []
    drop(nights)
    assert look_at_states(nights) == kept[:1]
    assert not find_newest(nights.open_catalogue().store).forgotten & set(nights.runs())


def cut_off_at(nights: Nights, monkeypatch: pytest.MonkeyPatch, step: str, **keep: int) -> None:
    """Call it, and cut it off right after what was written or deleted has this in its name."""
    after = 1
    whole, out = nights.folder / "whole", Path(nights.output)
    shutil.copytree(out, whole)
    while True:
        with suppress(Cut), cut_off(monkeypatch, after) as told:
            drop(nights, **keep)
            raise AssertionError(f"there is no {step} in {told}")
        if told and step in told[-1]:
            (out / "catalogue" / "lease.json").unlink()
            return
        after += 1
        shutil.rmtree(out)
        shutil.copytree(whole, out)


def test_a_state_can_be_gone_back_to_before_the_cut_off_call_is_made_good(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = look_at_states(nights)[1]
    cut_off_at(nights, monkeypatch, "00005/snapshot.json", last=2)
    roll_back(nights.open_catalogue(), 2)
    assert look_at_states(nights)[0] == then
    fold(nights.open_catalogue(), schema.RESULTS, refuse, anew=True)
    assert look_at_states(nights)[0] == then
    drop(nights)
    assert look_at_states(nights) == [then] and len(nights.runs()) == 2
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []


def test_a_night_after_a_cut_off_call_counts_nothing_twice(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is whole, and no snapshot points to it yet."""
    before = look_at_states(nights)
    cut_off_at(nights, monkeypatch, ".kept1/run.json")
    assert nights.plan().planned == 0 and look_at_states(nights) == before
    drop(nights)
    assert {name.partition(".")[2] for name in nights.runs()} == {"", "kept1"}
    assert look_at_states(nights) == before[:1]


def test_a_dry_run_deletes_nothing_that_an_earlier_call_left(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off_at(nights, monkeypatch, "delete")
    files = sorted(Path(nights.output).rglob("*"))
    forget(nights.open_catalogue(), schema.RESULTS, Retention(), lambda _: None, dry=True)
    assert sorted(Path(nights.output).rglob("*")) == files


def test_half_written_files_and_empty_folders_of_a_forgotten_run_go_too(nights: Nights) -> None:
    """Else its name would stay taken."""
    drop(nights)
    name = min(find_newest(nights.open_catalogue().store).forgotten)
    folder = Path(nights.output, name, "results")
    folder.mkdir(parents=True)
    (folder / f".part-00000.parquet.{'0' * 16}.tmp").touch()
    drop(nights)
    assert not folder.parent.exists()


def test_who_was_taken_for_dead_deletes_nothing(nights: Nights) -> None:
    """Another driver has taken over while this one was asleep."""

    def wake_up(words: str) -> None:
        if words.startswith("copying"):
            claim = json.loads(nights.open_catalogue().store.get("lease.json") or b"")
            nights.open_catalogue().store.put(
                "lease.json", json.dumps({**claim, "holder": "another"}).encode()
            )

    before, runs = look_at_states(nights), nights.runs()
    with pytest.raises(RunConflict, match="counted as dead"):
        forget(nights.open_catalogue(), schema.RESULTS, Retention(), wake_up)
    assert look_at_states(nights) == before and set(runs) <= set(nights.runs())


def test_numbers_of_plans_that_superseded_rows_have_stay_known(tmp_path: Path) -> None:
    """The third night wants what the first has made, and the fourth does not."""
    nights = Nights(tmp_path)
    nights.add(10)
    for instruction in ("make it sepia", "mirror it", "make it sepia", "blur it"):
        nights.rows["rec-0000"]["instruction"] = instruction
        nights.run()
    assert len(drop(nights).deleted) == 1, "the second night's run"
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []


def test_a_run_that_a_state_knows_in_part_is_not_copied(nights: Nights) -> None:
    """Of a copy the state would have more than it had of the run."""
    newest = find_newest(nights.open_catalogue().store)
    first = min(newest.runs, key=lambda name: newest.runs[name].plan)
    part = replace(newest.runs[first], folded=((0, 1),))
    shutil.rmtree(Path(nights.output, "catalogue", "00002"))
    runs = {**newest.runs, first: part}
    assert create_snapshot(
        nights.open_catalogue().store, replace(newest, number=2, runs=runs, created="2026-01-01")
    )
    assert first not in drop(nights, last=2).copied
    assert first in drop(nights).copied


def test_a_step_image_that_was_lost_before_keeps_no_run(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.add(8)
    more = {"output": {"uri": nights.output, "step_images": "reference"}}
    nights.run(more=more)
    for name in list(nights.rows)[2:]:
        nights.rows[name]["instruction"] = "mirror it"
    nights.run(more=more)
    for image in Path(nights.output).glob("*/steps/*/0-*"):
        image.unlink()
    assert list(drop(nights).copied.values()) == [2]


def refuse(error: StoreError) -> None:
    raise error


def test_what_an_earlier_run_made_of_forgotten_work_is_not_missed(tmp_path: Path) -> None:
    """It failed twice; the second try is forgotten, and the run of the first one stays."""
    nights = Nights(tmp_path)
    nights.add(8)
    nights.rows["rec-0000"]["image"] = "none.png"
    nights.run()
    nights.run(more={"select": {"where": "status != 'ok'"}})
    nights.rows["rec-0000"]["image"] = "rec-0000.png"
    last = nights.run()
    assert len(drop(nights).deleted) == 1, "of the second try"
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []
    nights.rows["rec-0001"]["instruction"] = "mirror it"
    nights.run()
    assert check_catalogue(nights.open_catalogue(), schema.RESULTS).problems == []
    newest = find_newest(nights.open_catalogue().store)
    table = read_bucket(nights.open_catalogue().store, newest, 0)
    writer = SnapshotWriter(nights.open_catalogue().store, newest.number + 1)
    writer.add(table.filter(pc.field("run") != last.run_id))
    assert writer.finish(newest.runs, pruned=newest.pruned)
    (problem,) = check_catalogue(nights.open_catalogue(), schema.RESULTS).problems
    assert "lacks work that its run has" in problem, "what stands for a record is missed"


def test_a_plan_that_is_gone_is_named_and_nothing_is_deleted(nights: Nights) -> None:
    before, runs = look_at_states(nights), nights.runs()
    first = min(find_newest(nights.open_catalogue().store).runs.items(), key=lambda run: run[1].plan)[0]
    Path(nights.output, first, "plan", "plan.json").unlink()
    with pytest.raises(StoreError, match=r"plan/plan\.json: is gone, and the catalogue needs it"):
        drop(nights)
    assert look_at_states(nights) == before and set(runs) <= set(nights.runs())


def test_who_reads_a_state_while_it_is_deleted_is_told_to_call_again(nights: Nights) -> None:
    """And not that the catalogue is damaged."""
    store = nights.open_catalogue().store
    old = find_newest(store)
    drop(nights)
    with pytest.raises(StoreError, match="deleted by `mira-batch forget` meanwhile; call again"):
        read_bucket(store, old, 0)
