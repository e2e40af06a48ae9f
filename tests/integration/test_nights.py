"""Many nights over one catalogue: what is run, why, and what is left alone. Every edit is counted."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.inspect import InspectConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.edit.job import EditJob
from mira_batch.launch import make_job
from mira_batch.runtime import prepare
from mira_batch.runtime import run as runner
from mira_batch.runtime.busy import IfRunning, keep_idle
from mira_batch.runtime.known import read_catalogue
from mira_batch.runtime.lease import lease
from mira_batch.runtime.plan import Known
from mira_batch.storage.stores import open_store
from tests.support.models.counted import counted
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.nights import STEPS, Nights, count_causes, in_background


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(20)
    return found


def test_a_plan_says_why_and_writes_nothing(nights: Nights) -> None:
    first = nights.plan()
    assert (first.planned, first.run, count_causes(first)) == (20, "", {"new": 20})
    assert not any((nights.folder / "out").glob("*/run.json")) and nights.edits == 0
    assert nights.run(approved=first.plan).complete
    assert (nights.plan().planned, count_causes(nights.plan())) == (0, {"unchanged": 20})
    nights.rows["rec-0003"]["instruction"] = "mirror it"
    nights.paint("rec-0004", 200)
    nights.add(2)
    del nights.rows["rec-0005"]
    second = nights.plan()
    assert count_causes(second) == {"unchanged": 17, "instruction": 1, "image": 1, "new": 2, "gone": 1}
    assert second.causes["instruction"].example == "rec-0003" and second.causes["gone"].example == "rec-0005"
    third = nights.plan(policy={"type": "simulated", "steps": {"exact": {"*": 3}}})
    assert list(third.causes["settings"].changes.values()) == [17]
    (change,) = third.causes["settings"].changes
    assert change.startswith("pixels.policy.steps.exact.*: was 2, now 3")
    assert nights.edits == 20 * STEPS


def test_what_a_manifest_under_another_name_loses_is_gone(nights: Nights) -> None:
    nights.run()
    (nights.folder / "renamed.jsonl").symlink_to("m.jsonl")
    renamed = {"input": {"manifest": f"{nights.folder}/renamed.jsonl"}}
    assert count_causes(nights.plan(**renamed)) == {"unchanged": 20}
    assert nights.run(more=renamed).planned == 0 and nights.edits == 20 * STEPS
    del nights.rows["rec-0005"]
    found = nights.plan(**renamed)
    assert count_causes(found) == {"unchanged": 19, "gone": 1} and found.causes["gone"].example == "rec-0005"
    runs = nights.runs()
    nights.run(more=renamed)
    assert count_causes(nights.plan(**renamed)) == {"unchanged": 19}, "it is noted once"
    assert len(nights.runs()) == len(runs) + 1


class _ShelfJob(EditJob):
    """A job of somebody's own, whose settings call what it reads something else than a manifest."""

    def settings(self) -> Mapping[str, Any]:
        settings = dict(super().settings())
        return settings | {"input": {"shelf": settings["input"]["manifest"]}}


def test_a_job_that_names_no_manifest_begins_no_run_for_nothing(nights: Nights) -> None:
    for _ in range(3):
        runner.run(_ShelfJob(nights.configure()))
    assert len(nights.runs()) == 1


def test_another_plan_than_the_approved_one_is_refused(nights: Nights) -> None:
    approved = nights.plan().plan
    nights.add(1)
    with pytest.raises(RunConflict, match=f"no longer {approved}: it is {nights.plan().plan} now"):
        nights.run(approved=approved)
    assert nights.edits == 0 and not any((nights.folder / "out").glob("*/run.json"))
    nights.run(stop_after=8, approved=nights.plan().plan)
    assert nights.run(approved=nights.plan().plan).complete, "a run that was cut short goes on as approved"


def test_a_night_cut_short_and_a_manifest_that_grew_make_no_edit_twice(nights: Nights) -> None:
    first = nights.run(stop_after=8)
    assert 8 <= first.committed < 20
    nights.add(3)
    second = nights.run()
    assert second.complete and second.run_id != first.run_id
    assert (nights.edits, nights.again) == (23 * STEPS, 0)
    assert set(nights.current().values()) == {"ok"} and len(nights.current()) == 23
    assert nights.state_files() == 0, "what the second has taken over is deleted of the first"


def test_the_same_command_goes_on_unless_another_plan_wants_the_same_work(nights: Nights) -> None:
    first = nights.run(stop_after=4)
    trial = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}
    assert nights.run(more=trial).complete
    again = nights.run()
    assert again.run_id == first.run_id and again.complete, (
        "a trial of other settings is none of its business"
    )
    assert nights.edits == 20 * 1 + 20 * STEPS, "and none of its edits was made again"


def test_a_run_that_was_overtaken_is_not_gone_on_with(nights: Nights) -> None:
    first = nights.run(stop_after=4)
    nights.add(1)
    assert nights.run().complete
    del nights.rows["rec-0020"]  # so that it is the first night's command again
    third = nights.run()
    assert (third.run_id, third.planned) == (f"{first.run_id}-2", 0), "what it had to make is made by now"
    assert count_causes(third) == {"unchanged": 20, "gone": 1} and nights.edits == 21 * STEPS


def test_runs_that_overlap_share_the_work(nights: Nights, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-0002").touch()
    editor = counted(nights.log, hold=hold)
    thread, first = in_background(lambda: nights.run(more={"editor": editor}))
    until(lambda: nights.edits > 1)
    nights.add(5)
    refused = nights.run(more={"editor": editor}, if_running=IfRunning.skip)
    assert refused.run == "" and refused.busy.startswith(nights.runs()[0])
    with pytest.raises(RunConflict, match="is at work on this catalogue"):
        nights.run(more={"editor": editor}, if_running=IfRunning.fail)
    second = nights.run(more={"editor": editor})
    assert (second.planned, second.ok) == (5, 5)
    assert count_causes(second)["running"] + count_causes(second)["unchanged"] == 20
    (hold / "rec-0002").unlink()
    thread.join(60)
    assert first[0].complete and first[0].ok == 20
    assert (nights.edits, nights.again) == (25 * STEPS, 0)
    assert len(nights.current()) == 25


def test_what_another_run_commits_while_one_is_planned_is_not_made_again(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has committed nothing when the catalogue is read, and all before the manifest is."""
    hold = tmp_path / "hold"
    hold.mkdir()
    for name in nights.rows:
        (hold / name).touch()
    editor = counted(nights.log, hold=hold)
    thread, first = in_background(lambda: nights.run(more={"editor": editor}))
    until(lambda: nights.edits > 1)

    def read_and_lag(*args: Any) -> Known:
        found = read_catalogue(*args)
        for name in list(nights.rows)[:20]:
            (hold / name).unlink()
        thread.join(60)
        return found

    monkeypatch.setattr(prepare, "read_catalogue", read_and_lag)
    nights.add(5)
    second = nights.run(more={"editor": editor})
    assert first[0].complete and (second.planned, count_causes(second)["running"]) == (5, 20)
    assert (nights.edits, nights.again) == (25 * STEPS, 0) and len(nights.current()) == 25


def test_a_run_that_waits_does_what_is_left(nights: Nights, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "rec-0002").touch()
    editor = counted(nights.log, hold=hold)
    thread, first = in_background(lambda: nights.run(more={"editor": editor}))
    until(lambda: nights.edits > 1)
    nights.add(2)
    waiting, second = in_background(lambda: nights.run(more={"editor": editor}, if_running=IfRunning.wait))
    waiting.join(1)
    assert waiting.is_alive() and len(nights.runs()) == 1
    (hold / "rec-0002").unlink()
    thread.join(60)
    waiting.join(60)
    assert (first[0].ok, second[0].planned, second[0].ok) == (20, 2, 2)
    assert nights.again == 0


def retry(
    nights: Nights, where: str = "status != 'ok'", more: dict[str, Any] | None = None, **select: Any
) -> Any:
    return nights.run(more={"select": {"where": where, **select}} | (more or {}))


def test_a_retry_runs_what_is_not_ok_and_no_success_again(nights: Nights, tmp_path: Path) -> None:
    for name in ("rec-0001", "rec-0002", "rec-0003"):
        (tmp_path / f"{name}.png").rename(tmp_path / f"{name}.away")
    assert nights.run().failed == 3
    edits = nights.edits
    (tmp_path / "rec-0001.away").rename(tmp_path / "rec-0001.png")
    first = retry(nights)
    assert (first.planned, first.ok, first.failed) == (3, 1, 2)
    assert nights.edits == edits + STEPS
    (tmp_path / "rec-0002.away").rename(tmp_path / "rec-0002.png")
    second = retry(nights)
    assert (second.planned, second.ok, second.failed) == (2, 1, 1)
    (tmp_path / "rec-0003.away").rename(tmp_path / "rec-0003.png")
    assert retry(nights, "error_kind = 'image_unreadable'").ok == 1
    runs = nights.runs()
    clean = retry(nights)
    assert (clean.run, clean.planned, nights.runs()) == ("", 0, runs), "nothing is left to be tried again"
    assert set(nights.current().values()) == {"ok"} and nights.edits == 20 * STEPS


def test_a_retry_may_name_records_that_are_ok(nights: Nights) -> None:
    nights.run()
    assert count_causes(retry(nights, "record_id = 'rec-0007'", again=True)) == {
        "selected": 1,
        "not_selected": 19,
    }
    assert nights.again == STEPS
    with pytest.raises(ConfigError, match="there is no column 'stats'"):
        retry(nights, "stats = 'ok'")


def test_reprocessing_a_sample_first_and_then_the_rest(nights: Nights) -> None:
    nights.run()
    other = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}
    canary = retry(nights, "true", more=other, sample=6)
    assert (canary.planned, canary.ok) == (6, 6)
    assert retry(nights, "true", more=other, sample=6).planned == 0, "the same sample, done by now"
    rest = retry(nights, "true", more=other)
    assert (rest.planned, rest.ok) == (14, 14) and count_causes(rest)["unchanged"] == 6
    assert nights.edits == 20 * STEPS + 20
    back = nights.run()
    assert (back.planned, count_causes(back)) == (0, {"unchanged": 20}), "its own results are found again"
    assert nights.edits == 20 * STEPS + 20


def command(nights: Nights, *words: str) -> Any:
    """A command about the catalogue: its answer, and its exit code."""
    done = subprocess.run(
        [*CLI, *words, "--json"], cwd=nights.folder, capture_output=True, text=True, timeout=120
    )
    return json.loads(done.stdout), done.returncode


def test_a_catalogue_is_made_anew_from_its_runs(nights: Nights) -> None:
    nights.run()
    nights.rows["rec-0003"]["instruction"] = "mirror it"
    nights.run()
    before = nights.current()
    assert command(nights, "catalogue", "verify", "out")[0]["whole"] is True
    shutil.rmtree(nights.folder / "out" / "catalogue" / "00002")
    assert command(nights, "catalogue", "verify", "out") == (
        {"snapshot": 1, "records": 20, "rows": 21, "problems": [], "whole": True},
        0,
    ), "what a snapshot does not know is read from the runs"
    (bucket,) = (nights.folder / "out" / "catalogue" / "00001").glob("bucket-*")
    bucket.write_bytes(bucket.read_bytes()[:-9])
    verdict, code = command(nights, "catalogue", "verify", "out")
    assert code == 1 and "is damaged" in verdict["problems"][0] and "rebuild" in verdict["problems"][0]
    with pytest.raises(StoreError, match="mira-batch catalogue rebuild"):
        nights.run()
    assert command(nights, "catalogue", "rebuild", "out") == (
        {"snapshot": 2, "records": 20, "runs": 2, "left_out": []},
        0,
    )
    assert command(nights, "catalogue", "verify", "out")[0]["whole"] and nights.current() == before
    assert nights.plan().planned == 0 and nights.again == STEPS


def test_a_rollback_brings_back_what_was_and_stays_when_all_is_made_anew(nights: Nights) -> None:
    first = nights.run()
    other = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}
    second = nights.run(more=other)
    assert nights.owners() == {second.run_id}
    assert command(nights, "catalogue", "rollback", "out", "1") == ({"snapshot": 3, "records": 20}, 0)
    assert nights.owners() == {first.run_id}
    assert command(nights, "catalogue", "verify", "out")[0]["whole"]
    assert command(nights, "catalogue", "rebuild", "out")[1] == 0 and nights.owners() == {first.run_id}
    assert nights.plan().planned == 0 and nights.plan(**other).planned == 20
    assert [entry["number"] for entry in command(nights, "catalogue", "list", "out")[0]] == [4, 3, 2, 1]
    error, code = command(nights, "catalogue", "rollback", "out", "9")
    assert code == 2 and "has no snapshot 9; there are 4, 3, 2, 1" in error["error"]


def test_a_run_of_another_job_is_not_at_work_on_the_catalogue(nights: Nights) -> None:
    nights.run()
    about = {"input": {"manifest": f"{nights.folder}/m.jsonl"}, "output": {"uri": nights.output}}
    looked = runner.run(make_job(InspectConfig.model_validate({**about, "backend": "inline"})))
    nights.add(1)
    with lease(open_store(looked.run, nights.storage), lambda _: None, lambda _: None):
        night = nights.run(if_running=IfRunning.skip)
        assert (night.busy, night.planned) == ("", 1)
        with keep_idle(nights.open_catalogue(), lambda _: None):
            pass


def test_a_sample_is_of_records_that_there_are(nights: Nights) -> None:
    nights.run()
    for name in list(nights.rows)[:17]:
        del nights.rows[name]
    nights.run()
    other = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}
    assert nights.plan(select={"where": "true", "sample": 3}, **other).planned == 3
