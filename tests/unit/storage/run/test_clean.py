"""What is deleted once nobody needs it, and above all what is not."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mira_batch import load_config, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, RunStopped
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from mira_batch.runtime.lease import Claim, lease
from mira_batch.runtime.run import clean
from mira_batch.storage.run.clean import Cleaned, delete_leftovers, delete_state
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import LEASE, LIVE
from mira_batch.storage.run.planfile import Plan
from mira_batch.storage.stores import CHECK_PREFIX, Store, open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits

DEAD = Claim("beef", "far-away", 4242, "another machine", "2026-01-01T06:00:00", "2026-01-01T07:00:00")
HALF = "results/.part-00001.parquet.0123456789abcdef.tmp"


def keys(store: Store, prefix: str = "") -> set[str]:
    tops = [prefix] if prefix else [*store.list_folders(), "run.json", "lease.json"]
    return {entry.key for top in tops for entry in store.list(top)}


def fill(store: Store, *names: str) -> None:
    for name in names:
        store.put(name, b"12345")


def test_the_state_of_all_shards_but_those_named_is_deleted(store: Store) -> None:
    old = ("state/00000/w1/0.step", "state/00000/w1/try-ab-1", "state/00000/attempt-ab-1")
    kept = ("state/00001/w2/0.step", "state/00001/attempt-ab-1", "results/part-00000.parquet")
    fill(store, *old, *kept)
    assert delete_state(store, keep={1}) == Cleaned(3, 15)
    assert keys(store, "state") | keys(store, "results") == set(kept)
    assert delete_state(store, keep={1}) == Cleaned()
    assert delete_state(store, keep=set()) == Cleaned(2, 10)


def test_shards_are_known_by_number_however_it_is_written(store: Store) -> None:
    fill(store, "state/123456/w/0.step", "state/00007/w/0.step", "state/notes/0.step")
    assert delete_state(store, keep={123456}) == Cleaned(1, 5)
    assert keys(store, "state") == {"state/123456/w/0.step", "state/notes/0.step"}, "what isn't ours stays"


def test_what_killed_processes_left_is_deleted(store: Store) -> None:
    left = (f"{CHECK_PREFIX}0123/object", LIVE, "plan/plan-dead-00000.parquet")
    kept = ("plan/plan.json", "plan/rejects.parquet", "plan/plan-good-00000.parquet", "results/x.parquet")
    fill(store, *left, *kept)
    plan = Plan(("plan/plan-good-00000.parquet",), (1,), rejected=0, skipped=0)
    assert delete_leftovers(store, plan) == Cleaned(3, 15)
    assert keys(store, "plan") | keys(store, "results") == set(kept)
    assert store.get(LIVE) is None and delete_leftovers(store, plan) == Cleaned()


def test_without_a_plan_no_plan_file_is_touched(store: Store) -> None:
    fill(store, "plan/plan-coming-00000.parquet")
    assert delete_leftovers(store, None) == Cleaned()


def test_half_written_local_files_are_deleted_and_nothing_that_looks_alike(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), StorageConfig())
    fill(store, "results/part-00001.parquet", "results/.hidden.tmp", "state/00001/w/.0.step.0123.tmp")
    for name in (HALF, "state/00001/w/.0.step.fedcba9876543210.tmp"):
        (tmp_path / "run" / name).write_bytes(b"123")
    before = {path for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert delete_leftovers(store, None) == Cleaned(2, 6)
    gone = before - {path for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path.name for path in gone} == {Path(HALF).name, ".0.step.fedcba9876543210.tmp"}


# A whole run, broken off


class Breaker(Progress):
    """Ends the run in order once two shards are committed."""

    def __init__(self) -> None:
        self.stop = StopRequest()
        self.notes: list[str] = []

    def committed(self, summary: RunSummary) -> None:
        if summary.committed >= 16:
            self.stop.ask(RunEnd.interrupted, "that will do")

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def broken_off(tmp_path: Path) -> tuple[BulkEditConfig, Store]:
    """A run with committed shards, and steps of records still to run."""
    slow = {"editor": {"type": "simulated", "service": {"seconds": 0.05}, "max_batch": 1}}
    manifest = make_catalogue(tmp_path / "catalogue", 40)
    config = load_config(settings(manifest, tmp_path / "out", policy={"type": "simulated"}, **slow))
    breaker = Breaker()
    with pytest.raises(RunStopped) as ended:
        run(config, breaker, breaker.stop)
    return config, open_store(ended.value.summary.run, config.storage)


def leftovers(store: Store) -> set[str]:
    """What a driver and a worker leave that are killed in their last moments; the keys of it all."""
    done = min(find_committed_shards(store))
    fill(store, f"state/{done:05d}/w/0.step", f"state/{done:05d}/attempt-ab-1", f"{CHECK_PREFIX}0123/object")
    Path(store.uri, HALF).write_bytes(b"12345")
    store.put(LEASE, json.dumps(asdict(replace(DEAD, place=_place_of_lease(store), pid=2**22 + 1))).encode())
    return {
        f"state/{done:05d}/w/0.step",
        f"state/{done:05d}/attempt-ab-1",
        f"{CHECK_PREFIX}0123/object",
        LEASE,
    }


def _place_of_lease(store: Store) -> str:
    def ignore(_: str) -> None:
        pass

    with lease(store, ignore, ignore):
        return json.loads(store.get(LEASE) or b"")["place"]


def test_cleaning_takes_the_leftovers_and_no_step_that_is_still_of_use(
    broken_off: tuple[BulkEditConfig, Store],
) -> None:
    config, store = broken_off
    steps = keys(store, "state")
    assert any(name.endswith(".step") for name in steps)
    everything = keys(store)
    left = leftovers(store)
    cleaned = clean(EditJob(config))
    assert cleaned.objects == len(left) + 1, "and the half-written file"
    assert keys(store) == everything and not Path(store.uri, HALF).exists()
    logged = sum(name.endswith(".step") for name in steps)
    summary = run(config)
    assert summary.complete and summary.resumed_steps == logged
    assert verify_edits(store).whole
    assert clean(EditJob(config)) == Cleaned()


def test_all_state_may_be_given_up_and_is_made_again(broken_off: tuple[BulkEditConfig, Store]) -> None:
    config, store = broken_off
    steps = keys(store, "state")
    assert clean(EditJob(config), all_state=True).objects == len(steps) > 0
    assert keys(store, "state") == set()
    summary = run(config)
    assert summary.complete and summary.resumed_steps == 0 and verify_edits(store).whole


def test_a_run_that_somebody_works_on_is_not_cleaned(broken_off: tuple[BulkEditConfig, Store]) -> None:
    config, store = broken_off
    claim, ended, beats = DEAD, threading.Event(), 0

    def beat() -> None:
        nonlocal beats
        while not ended.wait(0.2):
            beats += 1
            store.put(LEASE, json.dumps(asdict(replace(claim, beats=beats))).encode())

    store.put(LEASE, json.dumps(asdict(claim)).encode())
    before, watch = keys(store), Breaker()
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(RunConflict, match="far-away, process 4242.*stop it first"):
            clean(EditJob(config), watch)
    finally:
        ended.set()
        thread.join()
    assert keys(store) == before and "waiting for its heartbeat" in watch.notes[0]


def test_a_run_that_is_not_there_cannot_be_cleaned(tmp_path: Path) -> None:
    (tmp_path / "out" / "mine").mkdir(parents=True)
    config = load_config(settings(make_catalogue(tmp_path / "c", 2), tmp_path / "out", run_id="mine"))
    with pytest.raises(RunConflict, match="holds no run"):
        clean(EditJob(config))


def test_a_run_that_is_resumed_sweeps_the_state_of_committed_shards_itself(
    broken_off: tuple[BulkEditConfig, Store],
) -> None:
    config, store = broken_off
    left = leftovers(store)
    assert run(config).complete
    assert keys(store, "state") == set()
    assert keys(store) & left == {f"{CHECK_PREFIX}0123/object"}, (
        "a store check may be somebody's of this moment"
    )


def test_nobody_begins_on_a_run_that_is_being_cleaned(
    broken_off: tuple[BulkEditConfig, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the claim and the steps of who does would be deleted with those of the dead."""
    config, store = broken_off
    told: list[str] = []

    def begin(store: Store, keep: set[int]) -> Cleaned:
        with pytest.raises(RunConflict) as refused:
            run(config)
        told.append(str(refused.value))
        return delete_state(store, keep)

    monkeypatch.setattr(runner, "delete_state", begin)
    clean(EditJob(config))
    assert "another driver runs this" in told[0] and store.get(LEASE) is None
