"""`mira-batch evaluate B --against A`: two runs judged pair by pair, in both orders, and what `compare` makes
of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.storage.images import OWN_RESULTS, decode
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.commands import Commands
from tests.support.runs.disturbed import until
from tests.support.runs.drivers import Begin
from tests.support.runs.nights import Nights
from tests.support.servers.models import Answer, Asked, ModelServer

RECORDS = 36
NO_CONTROLS = ("--set", "controls={repeats: 0, canaries: 0}")


@dataclass(frozen=True)
class Both:
    """Two runs over nearly the same records: A makes one edit of each, B all of them."""

    a: str
    b: str
    digests: dict[str, tuple[str | None, str | None]]
    """Of the results of A and B, by records of both that have them."""
    results: frozenset[bytes]
    """Pixels of B's results."""

    @property
    def equal(self) -> int:
        """Records of which both have the same result, asked for alike."""
        return sum(one == other for one, other in self.digests.values())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row | {"kind": "odd" if i % 2 else "even"} for i, row in enumerate(rows)]
    other = {"record_id": "rec-00002", "instruction": "make it sepia"}
    runs, tables = {}, {}
    for name, kept, limits in (
        ("a", rows[:-1], {"max_steps": 1}),
        ("b", [row | other if row["record_id"] == "rec-00002" else row for row in rows[1:]], {}),
    ):
        path = manifest.with_name(f"{name}.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        runs[name] = run(load_config(settings(path, folder / name, limits=limits))).run
        columns = ["record_id", "status", "image", "result_digest"]
        tables[name] = {row["record_id"]: row for row in read_outputs(runs[name], columns).to_pylist()}
    a, b = tables["a"], tables["b"]
    digests = {
        name: (a[name]["result_digest"], b[name]["result_digest"])
        for name in a
        if name in b and name != "rec-00002" and b[name]["status"] != "failed"
    }
    images = [decode(row["image"]["bytes"], name, OWN_RESULTS) for name, row in b.items() if row["image"]]
    return Both(runs["a"], runs["b"], digests, frozenset(image.tobytes() for image in images))


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd)


def write_judge(folder: Path, judge: dict[str, Any]) -> Path:
    workers = {"shard_size": 4, "records_in_flight": 4}
    config = {"job": "evaluate", "judge": judge, "output": {"uri": str(folder / "pairs")}}
    path = folder / "pair.yaml"
    path.write_text(json.dumps(config | {"backend": "inline", "workers": workers, "group": "kind"}))
    return path


def pairwise(server: ModelServer) -> dict[str, Any]:
    backend = {"type": "openai", "model": "tiny", "base_url": server.url, "prices": {"call": 0.25}}
    return {"type": "pairwise", "backend": backend}


def rows_of(found: Any) -> dict[str, dict[str, Any]]:
    return {row["record_id"]: row for row in pq.read_table(f"{found['run']}/results").to_pylist()}


def better(letter: str, reason: str = "") -> Answer:
    return Answer(json.dumps({"reason": reason, "better": letter}))


def prefers(results: frozenset[bytes]) -> Any:
    """Answers by whether an image is one of these; it says which image it saw where."""

    def script(asked: Asked) -> Answer:
        first, second = (shown.tobytes() in results for shown in asked.images[1:])
        return better("tie" if first == second else "A" if first else "B", f"{first} {second}")

    return script


def test_each_record_of_both_is_compared_once_and_the_counts_add_up(
    cli: Commands, tmp_path: Path, both: Both
) -> None:
    config = write_judge(tmp_path, {"type": "rules"})
    found = cli.json("evaluate", both.b, "--against", both.a, "-c", config, *NO_CONTROLS)
    said = found["preferences"]
    assert (said["records"], said["compared"], said["no_result"], said["judge_failed"]) == (33, 31, 2, 0)
    assert (said["only_a"], said["only_b"], said["asked_otherwise"]) == (1, 1, 1)
    assert (found["planned"], found["rejected"]) == (33, 3)
    assert said["errors"] == {"instruction_unclear": 1, "image_unreadable": 1}
    assert said["equal"] == both.equal > 5
    preference = said["preference"]
    assert preference["verdicts"] == {"win": 31 - both.equal, "tie": both.equal, "loss": 0}
    assert preference["share"] == pytest.approx(1 - both.equal / 62)
    assert preference["interval"]["low"] > 0.5 and preference["originals"] == 8
    assert preference["orders"] is None, "scores of each by itself know no order"
    groups = {name: group["verdicts"] for name, group in said["groups"].items()}
    assert sum(sum(verdicts.values()) for verdicts in groups.values()) == 31 and len(groups) == 2
    rejects = pq.read_table(f"{found['run']}/plan/rejects.parquet").to_pylist()
    assert {(row["record_id"], row["field"], row["reason"]) for row in rejects} == {
        ("rec-00000", "record_id", "is in A alone"),
        ("rec-00035", "record_id", "is in B alone"),
        ("rec-00002", "instruction", "is another one in A"),
    }
    rows = rows_of(found)
    failed = rows["rec-00017"]
    assert failed["score"] is None and failed["against_status"] == failed["result_status"] == "failed"
    assert failed["error_message"].startswith("no result in A and B: ")
    one = rows["rec-00004"]
    assert one["score"] == 1 and one["protocol"] == "rules-judge/1 by=scores"
    assert (one["against_digest"], one["result_digest"]) == both.digests["rec-00004"]
    assert {axis["name"]: axis["value"] for axis in one["axes"]} == {"a": pytest.approx(1 / 3), "b": 1.0}
    assert cli.json("verify", found["run"])["whole"]
    text = cli.text("evaluate", both.b, "--against", both.a, "-c", config, *NO_CONTROLS)
    assert "left out: 1 in A alone, 1 in B alone, 1 asked for otherwise" in text
    assert f"B {31 - both.equal} · tie {both.equal}, {both.equal} of them of equal pixels · A 0" in text
    words = ("evaluate", both.b, "--judge", "rules", "--against", both.a, "-o", tmp_path / "some")
    some = cli.json(*words, "--sample", "5", *NO_CONTROLS, "--set", "backend=inline")
    assert (some["preferences"]["records"], some["rejected"]) == (5, 0), "of those that were asked for alike"
    back = cli.json("evaluate", both.a, "--against", both.b, "-c", config, *NO_CONTROLS)
    assert back["preferences"]["preference"]["share"] == pytest.approx(1 - preference["share"])


def test_a_model_is_asked_in_both_orders_and_its_answers_are_kept(
    cli: Commands, tmp_path: Path, both: Both, server: ModelServer
) -> None:
    server.script = prefers(both.results)
    config = write_judge(tmp_path, pairwise(server))
    controls = ("--set", "controls={repeats: 4, canaries: 3}")
    found = cli.json("evaluate", both.b, "--against", both.a, "-c", config, *controls)
    said, asked = found["preferences"], 31 - both.equal
    assert said["preference"]["verdicts"] == {"win": asked, "tie": both.equal, "loss": 0}
    orders = said["preference"]["orders"]
    assert (orders["pairs"], orders["reversed"], orders["half"], orders["first_place"]) == (asked, 0, 0, 0.5)
    assert len(server.asked) == 2 * (asked + 4 + 3 * 3), "equal pixels cost no call"
    assert said["cost"] == pytest.approx(0.25 * len(server.asked))
    assert (said["repeated"], said["repeated_alike"]) == (4, 4)
    assert {each["kind"]: (each["judged"], each["wrong"]) for each in said["canaries"]} == {
        "original": (3, 0), "black": (3, 0), "same": (3, 0),
    }  # fmt: skip
    rows = rows_of(found)
    one = rows["rec-00004"]
    assert [json.loads(answer)["reason"] for answer in one["raw"]] == ["False True", "True False"]
    assert {axis["name"]: axis["value"] for axis in one["axes"]} == {"a_shown_first": 1, "b_shown_first": 1}
    assert one["validity"] == [{"name": "orders_agree", "value": 1.0}] and one["reason"] == "False True"
    assert one["protocol"] == "pairwise-form/1 resize=none orders=2"
    equal = rows["rec-00005"]
    assert equal["score"] == 0.5 and equal["raw"] == [] and equal["protocol"] is None and not equal["cost"]
    text = cli.text("evaluate", both.b, "--against", both.a, "-c", config, *controls)
    assert "canary, a black image against the result: 0 of 3 without preferring the result" in text
    assert "orders disagree in 0.0 %" in text and "no preference of a place is shown" in text


def test_a_judge_that_prefers_a_place_is_found_out(
    cli: Commands, tmp_path: Path, both: Both, server: ModelServer
) -> None:
    server.script = lambda asked: better("A")
    config = write_judge(tmp_path, pairwise(server))
    words = (
        "evaluate",
        both.b,
        "--against",
        both.a,
        "-c",
        config,
        "--set",
        "controls={repeats: 0, canaries: 2}",
    )
    found = cli.json(*words)
    said = found["preferences"]
    assert said["preference"]["verdicts"] == {"win": 0, "tie": 31, "loss": 0}
    orders = said["preference"]["orders"]
    assert orders["reversed"] == orders["pairs"] and orders["first_place"] == 1.0
    assert orders["first_interval"]["low"] > 0.5
    wrong = {each["kind"]: each["wrong"] for each in said["canaries"]}
    assert wrong == {"original": 2, "black": 2, "same": 2}
    assert all(group["orders"]["first_place"] == 1.0 for group in said["groups"].values())
    text = " ".join(cli.text(*words).split())
    assert "warning: the judge prefers a place: what is shown first is preferred in 100.0 %" in text


def test_an_order_without_an_answer_is_a_failure_and_no_tie(
    cli: Commands, tmp_path: Path, both: Both, server: ModelServer
) -> None:
    def script(asked: Asked) -> Answer:
        first, _ = (shown.tobytes() in both.results for shown in asked.images[1:])
        return Answer("I'm sorry, I can't say.") if first and "sepia" in asked.text else better("tie")

    server.script = script
    config = write_judge(tmp_path, pairwise(server))
    found = cli.json("evaluate", both.b, "--against", both.a, "-c", config, *NO_CONTROLS)
    said, rows = found["preferences"], rows_of(found)
    refused = [row for row in rows.values() if row["error_kind"] == "judge_refused"]
    assert said["judge_failed"] == len(refused) > 0
    assert all(row["score"] is None and row["cost"] == pytest.approx(0.5) for row in refused)
    assert said["compared"] + said["no_result"] + said["judge_failed"] == said["records"] == 33
    assert said["preference"]["verdicts"]["tie"] == said["compared"]


def test_what_can_not_be_compared_is_refused(cli: Commands, tmp_path: Path, both: Both) -> None:
    config = write_judge(tmp_path, {"type": "rules"})
    simulated = ("--set", "judge={type: simulated}")
    for words, said in (
        ((both.b, "--against", both.a, *simulated), "a judge simulated scores one image"),
        ((both.b, "--against", both.b), "input.against: is what is judged itself"),
        ((both.b, "--against", tmp_path / "x.jsonl"), "input.against"),
        ((Path(both.b) / "results", "--against", both.a), "input.manifest"),
        (
            (both.b, "--against", both.a, "--set", "input.where=record_id = 'rec-00035'"),
            "no record in common",
        ),
    ):
        error = cli.json("evaluate", *words, "-c", config, code=2)["error"]
        assert said in error, error


def test_only_results_of_the_wanted_statuses_are_judged(cli: Commands, tmp_path: Path, both: Both) -> None:
    words = ("evaluate", both.a, "--judge", "rules", "-o", tmp_path / "s", *NO_CONTROLS)
    found = cli.json(*words, "--set", "backend=inline", "--set", "input.statuses=[ok]")
    rows = read_outputs(both.a, ["record_id", "status"]).to_pylist()
    wanted = {row["record_id"] for row in rows if row["status"] != "unfinished"}
    assert set(rows_of(found)) == wanted and len(wanted) < len(rows)


def evaluate_scores(cli: Commands, run: str, output: Path) -> str:
    words = ("evaluate", run, "--judge", "rules", "-o", output, *NO_CONTROLS, "--set", "backend=inline")
    return cli.json(*words)["run"]


def test_pairs_stand_beside_scores_and_may_be_gated_on(
    cli: Commands, tmp_path: Path, both: Both, server: ModelServer
) -> None:
    a, b = (evaluate_scores(cli, place, tmp_path / name) for name, place in (("a", both.a), ("b", both.b)))
    server.script = prefers(both.results)
    config = write_judge(tmp_path, pairwise(server))
    pairs = cli.json("evaluate", both.b, "--against", both.a, "-c", config, *NO_CONTROLS)["run"]
    found = cli.json("compare", a, b, "--pairs", pairs, "--gate", "pairwise>=0.45")
    assert found["gates"][0]["passed"] and found["pairwise"]["preference"]["interval"]["low"] > 0.5
    assert found["verdict"].startswith("B is better (+0.") and "; pairs agree: B in " in found["verdict"]
    text = cli.text("compare", a, b, "--pairs", pairs, "--gate", "pairwise>=0.99", code=1)
    assert "B preferred in " in text and "gate pairwise>=0.99: not passed" in text
    worse = tmp_path / "worse"
    worse.mkdir()

    def contrary(asked: Asked) -> Answer:
        first, _ = (shown.tobytes() in both.results for shown in asked.images[1:])
        return better("B" if first else "A")

    server.script = contrary
    config = write_judge(worse, pairwise(server))
    against = cli.json("evaluate", both.b, "--against", both.a, "-c", config, *NO_CONTROLS)["run"]
    said = cli.json("compare", a, b, "--pairs", against)["verdict"]
    assert "; but pairs contradict the scores: they prefer A (B in " in said
    for words, expected in (
        ((a, b, "--pairs", b), "compares no pairs"),
        ((a, pairs), "give it as --pairs"),
        ((b, a, "--pairs", pairs), "the other way round"),
        ((a, a, "--pairs", pairs), "pairs are of other images than those that were scored"),
        ((a, b, "--gate", "pairwise>=0.45"), "give --pairs EVALUATION_OF_PAIRS"),
    ):
        assert expected in cli.json("compare", *words, code=2)["error"]


@pytest.mark.faults
def test_a_killed_comparison_goes_on(tmp_path: Path, both: Both, server: ModelServer, begin: Begin) -> None:
    let_go = threading.Event()

    def script(asked: Asked) -> Answer:
        answer = prefers(both.results)(asked)
        return answer if asked.number < 24 else Answer(answer.value, wait=let_go)

    server.script = script
    config = write_judge(tmp_path, pairwise(server))
    command = [sys.executable, "-m", "mira_batch.cli", "evaluate", both.b, "--against", both.a, "-c", config]
    command += [*NO_CONTROLS, "--json"]
    driver = begin(*command)
    until(lambda: len(list(tmp_path.glob("pairs/*/results/*.parquet"))) > 0 and server.in_flight, 90)
    os.kill(driver.process.pid, signal.SIGKILL)
    assert driver.process.wait(30) == -signal.SIGKILL
    let_go.set()
    again = begin(*command)
    answer = again.end()
    assert again.process.returncode == 0, answer
    said = json.loads(answer[answer.index("{") :])
    assert said["complete"] and 0 < said["already"] < said["committed"] == 33
    assert len(rows_of(said)) == pq.read_table(f"{said['run']}/results").num_rows == 33
    assert said["preferences"]["preference"]["verdicts"] == {
        "win": 31 - both.equal, "tie": both.equal, "loss": 0,
    }  # fmt: skip
