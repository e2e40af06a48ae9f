"""`mira-batch evaluate` and `compare`: results of runs and catalogues, and pairs of manifests, judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config, run
from mira_batch.core.identity import content_hash, seed
from mira_batch.core.receipts import RunSummary
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.commands import EMBEDDED, Commands
from tests.support.runs.nights import Nights
from tests.support.servers.models import Answer, ModelServer

RECORDS = 40
ONE = 17
"""Its instruction can't be understood; of another one the image is not there."""


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd, **EMBEDDED)


def edit(tmp_path: Path, name: str, **more: Any) -> RunSummary:
    manifest = tmp_path / "catalogue" / "manifest.jsonl"
    if not manifest.exists():
        make_catalogue(tmp_path / "catalogue", RECORDS)
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        rows = [row | {"kind": "odd" if i % 2 else "even"} for i, row in enumerate(rows)]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run(load_config(settings(manifest, tmp_path / name, **more)))


def evaluate(cli: Commands, source: Path | str, output: Path, *more: str, judge: str = "rules") -> Any:
    sets = ("--set", "backend=inline", "--set", "workers.shard_size=4")
    return cli.json("evaluate", source, "--judge", judge, "-o", output, *sets, *more)


def rows_of(found: Any) -> dict[str, dict[str, Any]]:
    return {row["record_id"]: row for row in pq.read_table(f"{found['run']}/results").to_pylist()}


def test_each_result_is_judged_once_and_the_counts_add_up(cli: Commands, tmp_path: Path) -> None:
    done = edit(tmp_path, "out")
    found = evaluate(cli, done.run, tmp_path / "scores", "--set", "group=kind")
    said = found["evaluation"]
    assert (said["records"], said["judged"], said["no_result"], said["judge_failed"]) == (40, 38, 2, 0)
    assert said["errors"] == {"instruction_unclear": 1, "image_unreadable": 1}
    assert said["means"]["overall"]["value"] == 1.0 and said["means"]["overall"]["records"] == 38
    assert {group: means["overall"]["records"] for group, means in said["groups"].items()} == {
        "even": 20, "odd": 18,
    }  # fmt: skip
    rows = rows_of(found)
    assert len([row for row in rows.values() if row["judged"] == "result"]) == RECORDS
    failed = rows[f"rec-{ONE:05d}"]
    assert failed["score"] is None and failed["result_status"] == "failed"
    assert failed["error_message"].startswith("no result: ")
    good = rows["rec-00003"]
    assert good["score"] == 1 and good["num_steps"] == 2 and good["group"] == "odd"
    assert {axis["name"]: axis["value"] for axis in good["axes"]} == {"edits": 2.0}
    assert cli.json("verify", found["run"])["whole"]


def test_canaries_and_repeats_are_judged_beside_the_results(cli: Commands, tmp_path: Path) -> None:
    done = edit(tmp_path, "out")
    controls = "controls={repeats: 5, canaries: 3}"
    found = evaluate(cli, done.run, tmp_path / "scores", "--set", controls)
    said = found["evaluation"]
    canaries = {canary["kind"]: canary for canary in said["canaries"]}
    assert {kind: (c["judged"], c["failed"]) for kind, c in canaries.items()} == {
        "original": (3, 0), "black": (3, 0), "other": (3, 0), "nonsense": (0, 3),
    }  # fmt: skip
    assert all(c["as_good"] == 0 for c in canaries.values()), "this judge is not fooled"
    assert said["repeated"] == 5
    assert "All 10 scores are 1" in said["agreement_note"], "what can't be told is not told"
    rows = rows_of(found)
    assert len({row["of"] for row in rows.values() if row["judged"] == "black"}) == 3
    again = evaluate(cli, done.run, tmp_path / "scores2", "--set", controls, judge="fidelity")
    blind = {canary["kind"]: canary for canary in again["evaluation"]["canaries"]}
    assert blind["original"]["as_good"] == 3, "and one that doesn't know the instruction is"


def test_a_repeat_is_drawn_anew_and_all_else_as_ever(
    cli: Commands, tmp_path: Path, server: ModelServer
) -> None:
    """A judge that draws says the same again where it is asked with the same seed."""
    done = edit(tmp_path, "out")
    server.script = lambda asked: Answer(json.dumps({"reason": "", "score": asked.body["seed"] % 101 / 10}))
    judge = {"type": "openai", "model": "tiny", "base_url": server.url, "sampling": {"temperature": 0.7}}
    config = tmp_path / "judge.json"
    config.write_text(json.dumps({"job": "evaluate", "judge": judge}))
    controls = ("--set", "controls={repeats: 12, canaries: 0}", "--set", "backend=inline")
    found = cli.json("evaluate", done.run, "-c", config, "-o", tmp_path / "scores", *controls)
    rows = rows_of(found)
    again = [row for row in rows.values() if row["judged"] == "repeat"]
    differing = [row for row in again if row["score"] != rows[row["of"]]["score"]]
    assert len(again) == 12 and len(differing) >= 10
    assert found["evaluation"]["agreement"]["icc"] < 0.9
    asked = content_hash(again[0]["instruction"], again[0]["source_digest"], again[0]["result_digest"])
    drawn = [seed(asked, "judge", 0, draw) % 2**31 % 101 / 100 for draw in (0, 1)]
    scores = [rows[again[0]["of"]]["score"], again[0]["score"]]
    assert scores == pytest.approx(drawn), "results are drawn as ever"


def test_a_catalogue_is_judged_and_only_what_is_new_the_next_time(cli: Commands, tmp_path: Path) -> None:
    nights = cli.nights
    nights.folder.mkdir()
    nights.add(6)
    cli.run()
    none = ("--set", "controls={repeats: 0, canaries: 0}")
    first = evaluate(cli, nights.output, tmp_path / "scores", *none)
    assert first["evaluation"]["judged"] == first["planned"] == 6
    nights.add(2)
    cli.run()
    second = evaluate(cli, nights.output, tmp_path / "scores", *none, "--set", "output.skip_done=true")
    assert second["planned"] == second["evaluation"]["records"] == 2
    third = evaluate(cli, nights.output, tmp_path / "all", *none)
    assert third["evaluation"]["judged"] == 8
    where = ("--set", "input.where=record_id in ('rec-0000', 'rec-0007')")
    some = evaluate(cli, nights.output, tmp_path / "some", *none, *where)
    assert some["evaluation"]["records"] == 2


def test_only_results_of_the_statuses_that_are_asked_for_are_judged(cli: Commands, tmp_path: Path) -> None:
    done = edit(tmp_path, "short", limits={"max_steps": 1})
    assert done.ok and done.unfinished and done.failed == 2
    none = ("--set", "controls={repeats: 0, canaries: 0}")
    for name in ("ok", "unfinished"):
        found = evaluate(cli, done.run, tmp_path / name, *none, "--set", f"input.statuses=[{name}]")
        said = found["evaluation"]
        number = getattr(done, name)
        assert (said["judged"], said["no_result"], said["records"]) == (number, 2, number + 2)


def test_of_a_run_that_is_not_whole_it_says_so(
    cli: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = edit(tmp_path, "out")
    evaluate(cli, done.run, tmp_path / "whole")
    assert caplog.messages == []
    last = sorted((Path(done.run) / "results").iterdir())[-1]
    left = pq.read_metadata(last).num_rows
    last.unlink()  # as long as it is not made
    found = evaluate(cli, done.run, tmp_path / "part")
    assert found["evaluation"]["records"] == RECORDS - left
    (told,) = caplog.messages
    assert told.startswith(f"{done.run}: {left} of its 40 records have no result yet, and are left out here")


def test_a_sample_is_the_same_each_time(cli: Commands, tmp_path: Path) -> None:
    done = edit(tmp_path, "out")
    drawn = []
    for name in ("a", "b"):
        found = evaluate(cli, done.run, tmp_path / name, "--sample", "10")
        rows = rows_of(found)
        drawn.append({row["of"] for row in rows.values() if row["judged"] == "result"})
    assert drawn[0] == drawn[1] and len(drawn[0]) == 10


def test_pairs_of_a_manifest_are_judged_and_a_row_without_original_is_a_reject(
    cli: Commands, tmp_path: Path
) -> None:
    for name, colour in (("before", "red"), ("after", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    row = {
        "record_id": "a",
        "image": "before.png",
        "original": "before.png",
        "instruction": "rotate it by 180",
    }
    rows = [row, row | {"record_id": "b", "image": "after.png"}]
    bad = (None, "data:image/png;base64,iVBO", "file://another-host/a.png")
    rows += [row | {"record_id": f"bad-{k}", "original": original} for k, original in enumerate(bad)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    none = ("--set", "controls={repeats: 0, canaries: 0}")
    found = evaluate(cli, tmp_path / "pairs.jsonl", tmp_path / "scores", *none)
    assert (found["planned"], found["rejected"]) == (2, 3)
    assert {name: row["score"] for name, row in rows_of(found).items()} == {"a": 1.0, "b": 0.0}
    more = (*none, "--set", "output.skip_done=true", "--set")
    assert (
        evaluate(cli, tmp_path / "pairs.jsonl", tmp_path / "scores", *more, "run_id=second")["planned"] == 0
    )
    Image.new("RGB", (32, 32), "green").save(tmp_path / "before.png")
    found = evaluate(cli, tmp_path / "pairs.jsonl", tmp_path / "scores", *more, "run_id=third")
    assert found["planned"] == 2, "b's own image is as it was, but not the one that it was made from"
    bad = ("evaluate", tmp_path / "pairs.jsonl", "--judge", "rules", "-o", tmp_path / "x")
    error = cli.json(*bad, "--set", "input.where=cost > 1", "--set", "backend=inline", code=2)
    assert "input.where: is for results of runs" in error["error"]
    error = cli.json(*bad, "--set", "input.statuses=[ok]", "--set", "backend=inline", code=2)
    assert "input.statuses: is for results of runs" in error["error"]


def test_a_record_that_is_named_like_a_control_is_judged(cli: Commands, tmp_path: Path) -> None:
    """One with its name would be taken for the same record twice."""
    for name, colour in (("before", "red"), ("after", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    names = ["p0", "p0#repeat", "p0#black", "p1"]
    row = {"image": "after.png", "original": "before.png", "instruction": "rotate it by 180"}
    lines = (json.dumps(row | {"record_id": name}) for name in names)
    (tmp_path / "pairs.jsonl").write_text("".join(f"{line}\n" for line in lines))
    found = evaluate(cli, tmp_path / "pairs.jsonl", tmp_path / "scores")
    rows = rows_of(found)
    assert not found["rejected"] and found["evaluation"]["records"] == 4
    assert [rows[name]["judged"] for name in names] == ["result"] * 4
    assert {row["of"] for row in rows.values() if row["judged"] == "repeat"} == {*names} - {"p0"}


def test_two_runs_are_compared_pair_by_pair(cli: Commands, tmp_path: Path) -> None:
    short, whole = edit(tmp_path, "short", limits={"max_steps": 1}), edit(tmp_path, "whole")
    group = ("--set", "group=kind")
    a, b = (
        evaluate(cli, done.run, tmp_path / f"scores-{k}", *group) for k, done in enumerate((short, whole))
    )
    gates = ("overall>=0.1", "steps<=5", "cost<=0")
    found = cli.json("compare", a["run"], b["run"], *(w for gate in gates for w in ("--gate", gate)))
    assert (found["paired"], found["scored"], found["only_a"], found["only_b"]) == (40, 38, 0, 0)
    overall, edits = found["scores"]
    assert overall["name"] == "overall" and overall["a"] < overall["b"] == 1.0
    assert overall["interval"]["low"] > 0 and overall["p"] < 0.01
    assert overall["wins"]["win"] + overall["wins"]["tie"] == 38 and not overall["wins"]["loss"]
    assert edits["name"] == "edits"
    assert {line["name"] for line in found["effort"]} == {"steps", "seconds", "cost"}
    assert found["no_result"]["a"] == found["no_result"]["b"] == 2
    assert found["verdict"].startswith("B is better (+0.") and not found["worst"]
    assert [gate["passed"] for gate in found["gates"]] == [True, True, True]
    back = cli.json("compare", b["run"], a["run"], "--gate", "overall>=-0.05", code=1)
    assert back["verdict"].startswith("B is worse") and back["worst"][0]["a"] == 1.0
    assert not back["gates"][0]["passed"]
    text = cli.text("compare", a["run"], b["run"])
    assert "40 records of both, 38 scored in both" in text and "verdict: B is better" in text
    assert "seconds" in text and "cost" not in text  # nothing costs money here


def test_scores_that_do_not_compare_are_refused(cli: Commands, tmp_path: Path) -> None:
    done = edit(tmp_path, "out")
    rules = evaluate(cli, done.run, tmp_path / "rules")["run"]
    other = evaluate(cli, done.run, tmp_path / "fidelity", judge="fidelity")["run"]
    error = cli.json("compare", rules, other, code=2)["error"]
    assert (
        "were not scored alike" in error and "protocol: ['rules-judge/1'] and ['fidelity-judge/1']" in error
    )
    strict = evaluate(cli, done.run, tmp_path / "s", "--set", "judge.max_shift=1", judge="fidelity")["run"]
    assert "settings of the judge" in cli.json("compare", other, strict, code=2)["error"]
    error = cli.json("compare", done.run, rules, code=2)["error"]
    assert "is a run of the job edit; give one of `mira-batch evaluate`" in error
    for gate, words in (
        ("overall", "give a name"),
        ("joy>=1", "there is no figure 'joy'"),
        ("edits>=-200", "--gate edits>=-200: edits lies between 0 and "),
    ):
        assert words in cli.json("compare", rules, rules, "--gate", gate, code=2)["error"]


def test_a_judge_is_held_against_people(cli: Commands, tmp_path: Path) -> None:
    """Half of the results are cut short, and people reject just these."""
    nights = cli.nights
    nights.folder.mkdir()
    for k in range(160):
        nights.add(1, "rotate it by 90 degrees" if k % 2 else "rotate it by 90 degrees, then make it sepia")
    done = cli.run(limits={"max_steps": 1})
    scores = evaluate(cli, done, tmp_path / "scores", "--set", "controls={repeats: 0, canaries: 0}")
    rows = [row for row in rows_of(scores).values() if int(row["of"][-4:]) < 120]
    lines = [
        {
            "record_id": row["of"],
            "result_digest": row["result_digest"],
            "decision": "approve" if row["score"] == 1 else "reject",
        }
        for row in rows
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("calibrate", scores["run"], "--decisions", tmp_path / "d.jsonl")
    found = cli.json(*words, "--most-bad", "0.1")
    assert (found["results"], found["decided"], found["approved"], found["unscored"]) == (160, 120, 60, 0)
    assert found["acceptance"]["threshold"] == 1.0 and found["acceptance"]["share"] == 0.5
    assert found["agreement"]["rate"] == found["agreement"]["ranking"] == found["agreement"]["kappa"] == 1
    assert found["pass_rate"]["value"] == pytest.approx(0.5)
    text = cli.text(*words, "--most-bad", "0.1")
    assert "accept from 1.0 on: 50 % of all results, and at most 10 %" in text
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:49]))
    few = ("calibrate", scores["run"], "--decisions", tmp_path / "few.jsonl")
    assert "49 decisions" in cli.json(*few, code=2)["error"]
    (tmp_path / "old.jsonl").write_text(json.dumps(lines[0] | {"result_digest": "f" * 32}) + "\n")
    old = ("calibrate", scores["run"], "--decisions", tmp_path / "old.jsonl")
    assert "none of the 1 decisions is about a result that was scored here" in cli.json(*old, code=2)["error"]
