"""Which scores and results a benchmark's table takes, and which it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch.evaluate.benchmarks.gedit import GROUPS
from tests.support.published import gedit_rows, save_gedit, save_imgedit
from tests.support.runs.benchmarks import EMBEDDED, edit
from tests.support.runs.commands import Commands
from tests.support.runs.nights import Nights
from tests.support.servers.models import Answer, Asked, ModelServer, model_server
from tests.support.servers.s3 import S3Server


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def script(asked: Asked) -> Answer:
        return Answer(json.dumps({"score": [9 if len(asked.images) == 2 else 4, 10], "reasoning": "so"}))

    with model_server(script) as running:
        yield running


@pytest.fixture
def prepared(cli: Commands, tmp_path: Path) -> Path:
    """GEdit-Bench in English, an item of each group."""
    data = save_gedit(tmp_path / "data", gedit_rows(), "parquet")
    words = ("benchmark", "prepare", "gedit", data, "--to", tmp_path / "gedit", "--language", "en")
    assert "left out: 11 in cn by --language" in cli.text(*words)
    return tmp_path / "gedit"


def evaluate(cli: Commands, source: Path, to: Path, *more: str, judge: str = "{type: fidelity}") -> Path:
    sets = [f"judge={judge}", "controls={repeats: 0, canaries: 0}", "backend=inline", "run_id=r", *more]
    words = [part for text in sets for part in ("--set", text)]
    cli.json("evaluate", source, "--judge", "fidelity", "-o", to, *words)
    return to / "r"


def viescore(server: ModelServer) -> str:
    return f"{{type: viescore, backend: {{type: openai, model: tiny, base_url: '{server.url}'}}}}"


def tabulate(cli: Commands, *words: str | Path) -> Any:
    return cli.json("benchmark", "table", "gedit", *words)


def refuse(cli: Commands, *words: str | Path) -> str:
    return cli.json("benchmark", *words, code=2)["error"]


def test_a_sample_leaves_the_others_missing_and_no_mean_of_all_groups(
    cli: Commands, prepared: Path, server: ModelServer, tmp_path: Path
) -> None:
    run = edit(cli, prepared)
    scored = evaluate(cli, run, tmp_path / "scores", "sample=4", judge=viescore(server))
    found = tabulate(cli, scored)
    assert (found["items"], found["judged"], found["missing"]) == (11, 4, 7)
    assert found["reasons"] == {"not in this evaluation": 7} and list(found["figures"]) == ["en"]
    table = found["figures"]["en"]["all"]
    assert table["macro"]["O"]["value"] is None and table["items"]["O"]["value"] == pytest.approx(6.0)
    assert sum(row["O"]["value"] is None for row in table["groups"].values()) == 7
    assert any("at the original's size: set resize: to_source" in note for note in found["notes"])
    text = cli.text("benchmark", "table", "gedit", scored)
    assert "INCOMPLETE: 7 of 11 items are in no mean (not in this evaluation 7)" in text


def test_all_runs_together_are_judged_and_found_again(
    cli: Commands, prepared: Path, server: ModelServer, tmp_path: Path
) -> None:
    edit(cli, prepared, "first=5")
    edit(cli, prepared, "run_id=more")
    scored = evaluate(cli, prepared / "edited", tmp_path / "scores", judge=viescore(server))
    found = tabulate(cli, scored)
    assert found["complete"] and found["figures"]["en"]["all"]["macro"]["O"]["value"] == pytest.approx(6.0)
    assert set(found["figures"]["en"]["all"]["groups"]) == set(GROUPS)
    runs = sorted(path.parent for path in (prepared / "edited").glob("*/run.json"))
    assert len(runs) == 2
    to = ("--to", tmp_path / "x")
    assert "5 of 11 results are missing (not in the run 5)" in refuse(cli, "layout", "gedit", runs[0], *to)
    assert cli.json("benchmark", "layout", "gedit", *runs, *to)["written"] == 11
    error = refuse(cli, "layout", "gedit", runs[0], runs[0], *to)
    assert "has a result in" in error and "give one of them" in error
    assert "gedit: give one evaluation" in refuse(cli, "table", "gedit", scored, scored)


def test_scores_of_another_judge_are_refused(cli: Commands, prepared: Path, tmp_path: Path) -> None:
    run = edit(cli, prepared)
    scored = evaluate(cli, run, tmp_path / "scores")
    error = refuse(cli, "table", "gedit", scored)
    assert "and no SC, PQ, of which the table is made; evaluate with viescore" in error
    assert "is a run of the job edit; give one of `mira-batch evaluate`" in refuse(cli, "table", "gedit", run)


def test_runs_of_other_manifests_are_refused(cli: Commands, prepared: Path, tmp_path: Path) -> None:
    """The same items from a manifest of one's own are taken once the prepared folder is named; other ones, or
    other instructions, are not."""
    rows = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    own = tmp_path / "own"
    own.mkdir()
    (own / "images").symlink_to(prepared / "images")

    def run_over(rows: list[dict[str, Any]], name: str) -> Path:
        (own / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return edit(cli, own, f"run_id={name}", f"input.allow=['{prepared}']").with_name(name)

    same = run_over(rows, "same")
    to = ("--to", tmp_path / "x")
    error = refuse(cli, "layout", "gedit", same, *to)
    assert "was not written by `benchmark prepare`" in error and "--prepared" in error
    named = ("--prepared", prepared)
    assert cli.json("benchmark", "layout", "gedit", same, *to, *named)["written"] == 11
    otherwise = run_over([row | {"instruction": "make it brighter"} for row in rows], "otherwise")
    assert "en-k000 was asked for otherwise than in" in refuse(cli, "layout", "gedit", otherwise, *to, *named)
    others = run_over([row | {"record_id": f"x{k}"} for k, row in enumerate(rows)], "others")
    assert "has x0, which is no item of" in refuse(cli, "layout", "gedit", others, *to, *named)
    scored = evaluate(cli, otherwise, tmp_path / "scores")
    assert "was asked for otherwise" in refuse(cli, "table", "gedit", scored, *named)
    imgedit = ("prepare", "imgedit", save_imgedit(tmp_path / "images"), "--to", tmp_path / "imgedit")
    cli.json("benchmark", *imgedit)
    error = refuse(cli, "table", "gedit", scored, "--prepared", tmp_path / "imgedit")
    assert "is of imgedit, not of gedit" in error


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("prepare", "joy", "x", "--to", "y"), "'joy' is no benchmark known here; there are gedit, imgedit"),
        (("prepare", "imgedit", "x", "--to", "y", "--language", "en"), "--language: imgedit has no use for"),
        (("prepare", "gedit", "x", "--to", "y", "--after", "z"), "--after: gedit has no use for it"),
        (("prepare", "gedit", "s3://b/x", "--to", "y"), "s3://b/x: is no folder of this machine; download"),
        (("table", "gedit", "x", "--clip", "w"), "--clip: gedit has no use for it"),
        (("table", "magicbrush", "x", "--axis", "a=b"), "--axis: magicbrush has no use for it"),
        (("table", "editreward-bench", "x", "--axis", "a"), "no such directory"),
        (("layout", "imgedit", "x", "--to", "y", "--model", "m"), "--model: imgedit has no use for it"),
        (("layout", "editreward-compass", "x", "--to", "y"), "layout: editreward-compass has none"),
    ],
)  # fmt: skip
def test_options_without_effect_and_unknown_names_are_refused(
    cli: Commands, words: tuple[str, ...], error: str
) -> None:
    assert error in refuse(cli, *words)


@pytest.mark.s3
def test_a_prepared_benchmark_moves_to_a_bucket_as_a_whole(
    cli: Commands,
    prepared: Path,
    server: ModelServer,
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its paths are relative, so it is whole wherever it lies. Runs, scores and layout are there, too."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.upload(prepared, "gedit")
    place, reach = f"s3://{s3.bucket}/gedit", ("--set", f"storage.endpoint_url={s3.endpoint}")
    (tmp_path / "edit.yaml").write_text(EMBEDDED)
    sets = [f"input.manifest={place}/manifest.jsonl", f"output.uri={place}/edited", "run_id=r"]
    words = [part for text in sets for part in ("--set", text)]
    cli.json("run", "--config", tmp_path / "edit.yaml", *words, *reach)
    more = ("--set", "backend=inline", "--set", f"judge={viescore(server)}", "--set", "run_id=r", *reach)
    cli.json("evaluate", f"{place}/edited/r", "--judge", "fidelity", "-o", f"{place}/scores", *more)
    assert tabulate(cli, f"{place}/scores/r", *reach)["complete"]
    layout = ("benchmark", "layout", "gedit", f"{place}/edited/r", "--to", f"{place}/results", *reach)
    assert cli.json(*layout)["written"] == 11 and cli.json(*layout)["already"] == 11
