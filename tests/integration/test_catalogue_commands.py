"""Plans, retries and the catalogue itself, as a user gives the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.runtime.lease import lease
from mira_batch.storage.stores import open_store
from tests.support.runs.commands import EMBEDDED, Commands
from tests.support.runs.nights import STEPS


def test_an_estimate_is_data(cli: Commands) -> None:
    words = ("plan", "--config", cli.config)
    assert cli.json(*words)["estimate"] == dict.fromkeys(("edits", "worker_hours", "dollars", "hours")) | {
        "runs": 0,
        "workers": 1,
    }
    assumed = cli.json(*words, "--assume", "edits=3", "--assume", "edit_seconds=300")["estimate"]
    assert assumed["edits"] == {"low": 36, "high": 36} and assumed["hours"] == {"low": 3, "high": 3}


def test_what_an_endpoint_charges_is_unknown_until_it_is_said(cli: Commands) -> None:
    editor = "editor={type: openai_images, model: m, base_url: 'http://localhost:9', prices: {image: 0.04}}"
    words = (
        "plan",
        "--config",
        cli.config,
        "--set",
        editor,
        "--assume",
        "edits=3",
        "--assume",
        "edit_seconds=2",
    )
    assert cli.json(*words)["estimate"]["dollars"] is None and "cost unknown" in cli.text(*words)
    told = cli.json(*words, "--assume", "edit_dollars=0.04")["estimate"]["dollars"]
    assert told["low"] == told["high"] == pytest.approx(36 * 0.04)


def test_a_plan_of_failures_alone_is_what_a_run_does_of_them(cli: Commands) -> None:
    """Nothing: so `plan` doesn't say that there is something to do, night after night."""
    cli.nights.store.delete(["rec-0000.png"])
    first = cli.run()
    words = ("plan", "--config", cli.config, "--detailed-exitcode")
    found = cli.json(*words)
    causes = {name: cause["records"] for name, cause in found["causes"].items()}
    assert (found["planned"], causes) == (0, {"unchanged": 11, "failed_waiting": 1})
    assert "1  failed before, left to `retry`" in cli.text(*words)
    assert cli.json("run", "--config", cli.config)["run"] == str(first)
    cli.nights.add(1)
    found = cli.json(*words[:1], "--config", cli.config, "--detailed-exitcode", code=3)
    causes = {name: cause["records"] for name, cause in found["causes"].items()}
    assert (found["planned"], causes) == (2, {"unchanged": 11, "failed": 1, "new": 1})


def test_an_approved_plan_may_be_run_again(cli: Commands) -> None:
    approved = cli.json("plan", "--config", cli.config)["plan"]
    words = ("run", "--config", cli.config, "--plan", approved)
    runs = [cli.json(*words)["run"] for _ in range(2)]
    assert runs[0] == runs[1] and cli.nights.edits == 12 * STEPS
    cli.nights.add(1)
    refused = cli.json("run", "--config", cli.config, "--plan", approved, code=2)
    assert f"the plan is no longer {approved}" in refused["error"]


def test_a_plan_of_a_run_that_goes_on_says_as_much_as_any(cli: Commands, tmp_path: Path) -> None:
    nights = cli.nights
    nights.rows["twice"] = nights.rows["rec-0000"]
    cut = nights.run(stop_after=4)
    words = ("plan", "--config", cli.config, "--rejects", tmp_path / "rejects.parquet")
    found = cli.json(*words)
    left = found["planned"] - found["committed"]
    assert (found["run"], found["plan"]) == (cut.run, cut.plan) and 0 < left < 12
    assert found["estimate"]["edits"] == {"low": left * STEPS, "high": left * STEPS}
    assert pq.read_table(tmp_path / "rejects.parquet")["record_id"].to_pylist() == ["rec-0000"]
    assert "unusable: " in (said := cli.text(*words)) and f"about {left * STEPS} edits" in said
    refused = cli.json("plan", "--config", cli.config, "--assume", "edit=3", code=2)
    assert refused["error"] == "--assume edit: there are edits, edit_seconds, edit_dollars"


@pytest.mark.parametrize("command", ["retry", "reprocess"])
def test_an_empty_condition_is_none(cli: Commands, command: str) -> None:
    """As it comes of a variable that is not set: it must not mean all records."""
    cli.run()
    refused = cli.json(command, "--config", cli.config, "--where", "", code=2)
    assert refused["error"] == "the condition is empty; `true` names all records"
    assert cli.nights.edits == 12 * STEPS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "is no decision: Expecting property name"),
        (b"3", "is no decision: it is no JSON object"),
        (b'["reject"]', "is no decision: it is no JSON object"),
        (b'{"record_id": "rec-0000"}', "is no decision: it lacks 'result_digest'"),
        (b'{"record_id": "a", "result_digest": "b", "decision": "Reject"}', "decision is approve or reject"),
        (b'{"record_id": "\xff"}', "is not in UTF-8"),
    ],
)
def test_a_line_that_is_no_decision_is_named(cli: Commands, tmp_path: Path, line: bytes, words: str) -> None:
    cli.run()
    file = tmp_path / "decisions.jsonl"
    good = {"record_id": "rec-0001", "result_digest": "0", "decision": "reject"}
    file.write_bytes(json.dumps(good).encode() + b"\n\n" + line + b"\n")
    error = cli.json("retry", "--config", cli.config, "--decisions", file, code=2)["error"]
    assert error.startswith(f"select.decisions: {file}:3: ") and words in error


def test_a_catalogue_that_was_lost_is_made_anew_where_it_was(cli: Commands) -> None:
    cli.run()
    for row in cli.nights.rows.values():
        row["instruction"] = "mirror it"
    cli.run()
    lost, out = Path(cli.nights.output, "catalogue"), cli.nights.output
    shutil.rmtree(lost)
    assert cli.json("catalogue", "list", out) == [] and not lost.exists(), "who only reads makes nothing"
    made = cli.json("catalogue", "rebuild", out)
    assert made == {"snapshot": 1, "records": 12, "runs": 2, "left_out": []}
    assert [entry["number"] for entry in cli.json("catalogue", "list", out)] == [1]
    shutil.rmtree(lost)
    assert len(cli.json("forget", out)["deleted"]) == 1
    assert [entry["runs"] for entry in cli.json("catalogue", "list", out)] == [1], (
        "what is kept is written down"
    )
    assert cli.json("catalogue", "verify", out)["whole"]
    assert cli.json("verify", "--config", cli.config, "--catalogue") == cli.json("catalogue", "verify", out)


def test_a_catalogue_that_is_made_anew_says_what_it_leaves_out(cli: Commands) -> None:
    run, out = cli.run(), cli.nights.output
    shutil.rmtree(Path(out, "catalogue"))
    damaged = sorted((run / "results").iterdir())[0]
    lost = pq.read_metadata(damaged).num_rows
    damaged.write_bytes(damaged.read_bytes()[:-9])
    made = cli.json("catalogue", "rebuild", out, code=1)
    (told,) = made.pop("left_out")
    assert made == {"snapshot": 1, "records": 12 - lost, "runs": 1}
    assert str(damaged.relative_to(out)) in told
    shutil.rmtree(Path(out, "catalogue"))
    text = cli.text("catalogue", "rebuild", out, code=1)
    assert f"snapshot 1: {12 - lost:,} records of 1 runs" in text and f"left out: {told}" in text


def test_a_directory_without_runs_is_no_empty_catalogue(cli: Commands, tmp_path: Path) -> None:
    run, empty = cli.run(), tmp_path / "empty"
    empty.mkdir()
    commands = (
        *(("catalogue", name) for name in ("list", "verify", "rebuild")),
        ("forget",),
    )
    for words in commands:
        for where in (run, empty):
            error = cli.json(*words, where, code=2)["error"]
            assert error == (
                f"{where}: holds no run of the job edit; give the directory of all runs, output.uri "
                "(those of several rollouts or branches are in no catalogue)"
            )
        assert (
            "holds no run of the job inspect"
            in cli.json(*words, run.parent, "--job", "inspect", code=2)["error"]
        )
    assert "holds no run" in cli.json("catalogue", "rollback", run, "1", code=2)["error"]
    assert not (run / "catalogue").exists() and not list(empty.iterdir())


def test_nothing_is_rolled_back_while_a_run_is_at_work(cli: Commands) -> None:
    """Its results so far would be left out, and those to come be in."""
    cut, out = cli.nights.run(stop_after=4), cli.nights.output
    committed = cut.committed
    with lease(open_store(cut.run, StorageConfig()), lambda _: None, lambda _: None):
        error = cli.json("catalogue", "rollback", out, "1", code=2)["error"]
    assert f"{cut.run_id} (" in error and error.endswith("is at work on this catalogue; let it finish")
    assert cli.nights.run().complete and cli.json("catalogue", "rollback", out, "1")["records"] == committed
    assert "there are" in cli.json("catalogue", "rollback", out, "99", code=2)["error"]


def test_a_night_that_cannot_be_written_down_is_told_all_the_same(cli: Commands) -> None:
    cli.settings |= EMBEDDED
    words = ("nightly", "--config", cli.config)
    assert cli.json(*words)["night"]["ok"] == 12
    folder = Path(cli.nights.output, "catalogue", "health")
    (folder / "00001.json").unlink()
    folder.rmdir()
    folder.write_text("no folder")
    assert cli.json(*words)["ok"] == 12
    assert "12 of 12 committed" in cli.text(*words)


def test_a_first_night_with_nothing_to_do_knows_of_no_night_with_results(cli: Commands) -> None:
    cli.run()
    said = cli.text("nightly", "--config", cli.config)
    assert "12 records, no night has made a good result yet" in said


def test_a_run_that_made_nothing_of_its_own_says_so(cli: Commands) -> None:
    """All its records stand in other runs; what it notes is which of them stand."""
    cli.run()
    cli.nights.rows["rec-0001"]["instruction"] = "mirror it"
    cli.run()
    cli.nights.rows["rec-0001"]["instruction"] = "make it sepia"
    said = cli.text("run", "--config", cli.config)
    assert "none of its own: nothing was left to make" in said and "12 that an earlier run has" in said
    assert "parquet" not in said and "report" not in said and "of 0" not in said
    (run,) = [name for name in cli.nights.runs() if name.endswith("-2")]
    status = cli.text("status", Path(cli.nights.output, run))
    assert "none of its own" in status and "parquet" not in status
    assert not Path(cli.nights.output, run, "report.html").exists()
