"""The store gives answers that look whole and are not: what seems damaged is read again, and is kept."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch import read_catalogue, read_outputs, read_trajectories, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from mira_batch.storage.run import layout
from mira_batch.storage.stores import open_store
from tests.support.runs.faultruns import Outcome, Place, check_sound, check_whole

pytestmark = [pytest.mark.faults, pytest.mark.s3]
RESULTS, STEPS, IMAGES = "/results/part-", r"/state/.*\.step", r"/images/"
FAULTS = pytest.mark.parametrize("fault", ["short", "zeroed"])


def total(undisturbed: Outcome) -> int:
    return sum(row[3] for row in undisturbed.values())


@FAULTS
def test_a_first_answer_that_is_wrong_costs_nothing(place: Place, undisturbed: Outcome, fault: Any) -> None:
    """Of each object the first answer is wrong: of images, plan files, steps, `run.json`, all there is."""
    config = place.config(editor=place.counting(), storage={"retry_seconds": 5})
    refused = place.proxy.add("denied", "PUT", RESULTS, after=1)
    with pytest.raises(StoreError, match=RESULTS):
        run(config)
    place.proxy.remove(refused)
    place.proxy.settle()
    lost = place.edits_begun() - place.durable_edits()
    # Of the manifest and lists nobody can tell; what images the first call has read is told already.
    wrong = place.proxy.add(fault, "GET", r"^/[^?]+/(images|out)/[^?]+$", each=1)
    summary = run(config)
    assert summary.complete and wrong.count > 10
    assert summary.resumed_steps > 0
    assert place.edits_begun() == total(undisturbed) + lost, "no edit is made again for the store's sake"
    check_whole(place.store(), place.past, undisturbed)


@FAULTS
def test_readers_of_a_run_believe_no_single_answer(place: Place, undisturbed: Outcome, fault: Any) -> None:
    config = place.config()
    done = run(config)
    status = runner.status(EditJob(config))
    out = r"^/[^?]+/out/[^?]+$"
    rows = read_outputs(done.run, storage=place.past).num_rows
    steps = read_trajectories(done.run, images=False, storage=place.past).num_rows

    def disturbed(read: Any) -> Any:
        wrong = place.proxy.add(fault, "GET", out, each=1)
        try:
            return read()
        finally:
            assert wrong.count > 0
            place.proxy.remove(wrong)

    assert disturbed(lambda: runner.verify(EditJob(config))).problems == []
    assert disturbed(lambda: runner.status(EditJob(config))) == status
    assert disturbed(lambda: read_outputs(done.run, storage=config.storage)).num_rows == rows
    assert disturbed(lambda: read_trajectories(done.run, False, config.storage)).num_rows == steps
    assert disturbed(lambda: read_catalogue(config.output.uri, storage=config.storage)).num_rows == rows
    # A change of the manifest starts a new run, which asks the old one what is done.
    manifest = f"{place.prefix}/catalogue/manifest.jsonl"
    client = place.s3.client()
    lines = client.get_object(Bucket=place.s3.bucket, Key=manifest)["Body"].read()
    client.put_object(Bucket=place.s3.bucket, Key=manifest, Body=lines + b"\n")
    again = disturbed(lambda: run(config))
    assert again.skipped == status.tally.ok and again.planned == rows - again.skipped


def test_answers_that_never_come_right_end_the_run_and_no_record(place: Place, undisturbed: Outcome) -> None:
    """Too short ones: of the same bytes each time, and as many as there are, nobody can tell."""
    config = place.config(storage={"retry_seconds": 1}, backend="inline")
    place.proxy.add("short", "GET", IMAGES, after=8, probability=0.9)
    with pytest.raises(StoreError, match="the object itself may be good: leave it"):
        run(config)
    place.proxy.clear()
    check_sound(place.store(), place.past, undisturbed)
    assert run(config).complete
    check_whole(place.store(), place.past, undisturbed)


def test_what_is_really_damaged_is_named_and_stays(place: Place, undisturbed: Outcome) -> None:
    config = place.config()
    done = run(config)
    store = open_store(done.run, place.past)
    storage = StorageConfig(endpoint_url=place.proxy.endpoint, retry_seconds=60)
    behind = open_store(done.run, storage)
    whole = store.get("results/part-00000.parquet")
    assert whole is not None
    store.put("results/part-00000.parquet", whole[: len(whole) // 2])
    before = place.proxy.requests["GET"]
    [problem] = runner.verify(EditJob(config)).problems
    assert "part-00000.parquet: is not whole Parquet" in problem and "keep it" in problem
    plan = store.get(layout.PLAN)
    assert plan is not None
    store.put(layout.PLAN, plan[:-1])
    with pytest.raises(StoreError, match=r"plan/plan\.json: is damaged .*; restore it, or leave this run"):
        layout.read_document(behind, layout.PLAN)
    assert place.proxy.requests["GET"] - before < 44, "two reads of a file are enough"
    assert store.get("results/part-00000.parquet") == whole[: len(whole) // 2]
