"""Several trajectories of a record, or of equal records: the best are kept, and what they share is worth what
the best of them is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config, run
from mira_batch.cli import main
from mira_batch.config.construct import ConstructConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.construct.formats import export_samples
from mira_batch.construct.run import construct
from tests.support.runs.astray import configure_construct, read_samples
from tests.support.runs.catalogue import SAMPLE, make_catalogue, settings

RECORDS = 8
GOAL = "make it grayscale, then flip it upside down"
WAYS = {
    "poor": ["make it grayscale", "rotate it a quarter turn clockwise"],
    "half": ["make it black and white"],
    "best": ["make it grayscale", "flip it upside down"],
}


def evaluate(edited: str, folder: Path, judge: str) -> str:
    words = ["evaluate", edited, "--output", str(folder), "--judge", judge]
    sets = ("run_id=e", "backend=inline", "controls.repeats=0", "controls.canaries=0")
    assert main([*words, *(word for each in sets for word in ("--set", each))]) == 0
    return str(folder / "e")


def read_selected(out: Path) -> list[dict[str, Any]]:
    files = sorted(out.glob("selected/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_of_the_rollouts_of_a_record_the_best_is_learned_from(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    simulated = {
        "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
        "editor": {"type": "simulated"},
        "backend": "inline",
        "rollouts": 2,
    }
    edited = run(load_config(settings(manifest, tmp_path / "edited", **simulated))).run
    scores = evaluate(edited, tmp_path / "scores", "simulated")
    given: dict[tuple[str, int], float] = {
        (row["of"], row["rollout"]): row["score"]
        for row in pq.read_table(f"{scores}/results").to_pylist()
        if row["judged"] == "result"
    }
    best = {name: max((0, 1), key=lambda number: given[name, number]) for name in {name for name, _ in given}}
    assert len(given) == 2 * RECORDS and set(best.values()) == {0, 1}  # or the first would do
    found = construct(
        configure_construct(Path(edited), tmp_path / "d", source={"scores": scores}, select={"keep": 1})
    )
    counts = found["select"]["counts"]
    assert counts == {"trajectories": 2 * RECORDS, "chosen": RECORDS, "dropped.not_among_best": RECORDS}
    kept = read_selected(tmp_path / "d")
    assert {row["record_id"]: row["rollout"] for row in kept} == best
    assert {row["score"] for row in read_samples(tmp_path / "d")} == {given[one] for one in best.items()}
    both = construct(configure_construct(Path(edited), tmp_path / "all", source={"scores": scores}))
    assert both["select"]["counts"] == {"trajectories": 2 * RECORDS, "chosen": 2 * RECORDS}
    assert {row["work_id"] for row in read_samples(tmp_path / "all")} == set(
        pq.read_table(f"{edited}/results", columns=["work_id"])["work_id"].to_pylist()
    )


def edit_ways(folder: Path, names: list[str]) -> Path:
    """A run whose records are of one image and one instruction, each with a way of its own."""
    folder.mkdir()
    image = Image.open(sorted((SAMPLE / "images").iterdir())[0]).convert("RGB")
    image.thumbnail((64, 64))
    image.save(folder / "a.png")
    lines = [json.dumps({"record_id": name, "image": "a.png", "instruction": GOAL}) for name in names]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    config = {
        "input": {"manifest": str(folder / "manifest.jsonl")},
        "output": {"uri": str(folder / "edited")},
        "policy": {
            "type": "custom",
            "factory": "tests.support.models.wandering:make_policy",
            "options": {"ways": WAYS},
        },
        "editor": {"type": "pillow"},
        "backend": "inline",
        "run_id": "r",
    }
    return Path(run(load_config(config)).run)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Each way as a run of its own, scored."""
    folder = tmp_path_factory.mktemp("ways")
    found = {}
    for name in WAYS:
        edited = edit_ways(folder / name, [name])
        scores = evaluate(str(edited), folder / name / "scores", "rules")
        found[name] = {"type": "runs", "uri": str(edited), "scores": scores}
    return found


def configure(sources: list[dict[str, str]], out: Path) -> ConstructConfig:
    return ConstructConfig.model_validate(
        {"output": {"uri": str(out)}, "sources": sources, "split": {"val_fraction": 0}}
    )


@pytest.mark.parametrize("order", [["poor", "half", "best"], ["best", "half", "poor"]])
def test_what_trajectories_share_is_worth_what_the_best_of_them_is(
    ways: dict[str, dict[str, str]], tmp_path: Path, order: list[str]
) -> None:
    """In whichever order they are read, the best one's first step is preferred."""
    found = construct(configure([ways[name] for name in order], tmp_path / "d"))
    given = {row["record_id"]: row["score"] for row in read_selected(tmp_path / "d")}
    assert given["poor"] < given["half"] < given["best"]
    assert found["samples"]["counts"]["dropped.duplicate"] == 1
    starts = {row["edit"]: row["score"] for row in read_samples(tmp_path / "d") if row["kind"] == "start"}
    assert starts == {"make it grayscale": given["best"], "make it black and white": given["half"]}
    storage = StorageConfig()
    about = export_samples(str(tmp_path / "d"), str(tmp_path / "dpo"), "trl-dpo", storage)
    (pair,) = [
        row for row in pq.read_table(tmp_path / "dpo" / "train-00000.parquet").to_pylist() if says(row)
    ]
    assert "make it grayscale" in pair["chosen"][0]["content"][0]["text"]
    assert "make it black and white" in pair["rejected"][0]["content"][0]["text"]
    assert about["warning"] is None
    export_samples(str(tmp_path / "d"), str(tmp_path / "steps"), "steps", storage)
    steps = pq.read_table(tmp_path / "steps" / "train-00000.parquet").to_pylist()
    assert {row["return"] for row in steps if row["kind"] == "start" and "grayscale" in row["answer"]} == {
        given["best"]
    }


def says(pair: dict[str, Any]) -> bool:
    """Whether a pair is about the first edit: only the original is shown."""
    return len(pair["images"]) == 1


def test_samples_of_an_earlier_release_are_exported_with_a_warning_of_their_scores(
    ways: dict[str, dict[str, str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    construct(configure([*ways.values()], tmp_path / "d"))
    about = tmp_path / "d" / "construct.json"
    said = json.loads(about.read_text())
    said["settings"]["version"] = 1
    about.write_text(json.dumps(said))
    capfd.readouterr()
    words = ["export-samples", str(tmp_path / "d"), "--format"]
    assert main([*words, "trl-dpo", "--to", str(tmp_path / "dpo")]) == 0
    assert "warning: " in (shown := capfd.readouterr().out) and "earlier release" in shown
    assert main([*words, "trl-sft", "--to", str(tmp_path / "sft")]) == 0
    assert "warning" not in capfd.readouterr().out
