"""What `prepare` refuses of each benchmark's data set, and what it leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch.config.load import load_job_config
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import DataSetError
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.suites import SUITES
from mira_batch.evaluate.suites.prepare import Preparation, prepare
from mira_batch.evaluate.suites.prepared import read_prepared
from mira_batch.evaluate.suites.suite import Request
from tests.support.published import (
    editscore_rows,
    gedit_rows,
    picture,
    save_compass,
    save_editscore,
    save_gedit,
    save_imgedit,
    save_magicbrush,
    save_magicbrush_rows,
    save_tiger,
    tiger_rows,
)

Change = Callable[[Any], Any]


def do(name: str, data: Path, to: Path, **more: Any) -> Preparation:
    return prepare(SUITES[name], Request(data, **more), str(to), StorageConfig())


def refuse(name: str, data: Path, to: Path, words: str, **more: Any) -> None:
    with pytest.raises(DataSetError, match=words):
        do(name, data, to, **more)
    assert not (to / "benchmark.json").exists() and not (to / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_type": "jokes"}, r"row 2: task_type is 'jokes', none of background_change, color_alter"),
        ({"instruction_language": "zh"}, "instruction_language is 'zh', none of en, cn"),
        ({"instruction": " "}, "instruction is ' '; a text is needed"),
        ({"key": "../a"}, r"key is '../a', which is no name of a file"),
        ({"key": "k000"}, "the key k000 with an instruction in en was there before, at .*row 1; take one"),
        ({"input_image": None}, "input_image has no image in it; save the data set with its images embedded"),
        ({"input_image": {"bytes": b"GIF8", "path": None}}, "input_image: is damaged|is not an image"),
        ({"Intersection_exist": None}, "Intersection_exist is None; true or false is needed"),
    ],
    ids=["type", "language", "instruction", "key", "twice", "no-image", "no-picture", "intersection"],
)
def test_faults_of_gedit_have_their_place(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows = gedit_rows()[:5]
    rows[1] |= change
    data = save_gedit(tmp_path / "data", rows)
    refuse("gedit", data, tmp_path / "to", rf"has 1 fault, and nothing was prepared:\n  .*{words}")


def test_a_row_that_a_job_would_reject_is_refused(tmp_path: Path) -> None:
    rows = gedit_rows()[:3]
    rows[1]["instruction"] = "make it sepia " * 1000
    data = save_gedit(tmp_path / "data", rows)
    with pytest.raises(DataSetError, match="en-k001: instruction is longer than 10000 characters"):
        do("gedit", data, tmp_path / "to")
    assert not (tmp_path / "to" / "benchmark.json").exists()


def test_all_faults_are_told_at_once_up_to_twenty(tmp_path: Path) -> None:
    rows = gedit_rows()
    for row in rows[:3]:
        row["task_type"] = "jokes"
    refuse("gedit", save_gedit(tmp_path / "some", rows), tmp_path / "to", "has 3 faults, and")
    for row in rows:
        row["task_type"] = "jokes"
    refuse("gedit", save_gedit(tmp_path / "many", rows), tmp_path / "to", "has at least 20 faults")


def test_a_language_is_chosen_and_the_other_is_said_to_be_left_out(tmp_path: Path) -> None:
    data = save_gedit(tmp_path / "data", gedit_rows())
    found = do("gedit", data, tmp_path / "to", languages=("en",))
    assert found.counts == {"en": 11} and found.left_out == ["11 in cn by --language"]
    refuse(
        "gedit", data, tmp_path / "x", "--language: 'zh' is none of en, cn; Chinese is cn", languages=("zh",)
    )
    english = save_gedit(tmp_path / "english", gedit_rows()[:11])
    refuse("gedit", english, tmp_path / "x", r"has no item \(11 in en by --language\)", languages=("cn",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e | {"edit_type": "joke"}, "edit_type is 'joke', none of add, adjust"),
        (lambda e: e | {"id": "../../secret.png"}, r"id is '../../secret.png', which leads out of"),
        (lambda e: e | {"id": "/etc/hostname"}, "id is '/etc/hostname', which leads out of"),
        (lambda e: e | {"id": "animal/none.jpg"}, r"its image .*none.jpg is not there; fetch it, or name"),
        (lambda e: {"id": e["id"], "edit_type": "add"}, "prompt is missing; a text is needed"),
        (lambda e: 7, "is no object with id, prompt and edit_type"),
    ],
    ids=["type", "above", "absolute", "missing", "prompt", "object"],
)
def test_faults_of_imgedit_have_their_place(change: Change, words: str, tmp_path: Path) -> None:
    data = save_imgedit(tmp_path / "data")
    entries = json.loads((data / "singleturn.json").read_text())
    entries["1004"] = change(entries["1004"])
    (data / "singleturn.json").write_text(json.dumps(entries))
    refuse("imgedit", data, tmp_path / "to", rf"singleturn.json: '1004': {words}")


def test_imgedits_file_and_images_may_lie_apart(tmp_path: Path) -> None:
    data = save_imgedit(tmp_path / "images")
    file = tmp_path / "basic_edit.json"
    (data / "singleturn.json").rename(file)
    refuse("imgedit", data, tmp_path / "to", "holds neither basic_edit.json nor singleturn.json")
    refuse("imgedit", file, tmp_path / "to", "or name their folder by --images")
    assert do("imgedit", file, tmp_path / "to", images=data).items == 9
    file.write_text("[]")
    refuse("imgedit", file, tmp_path / "x", "holds no object that maps keys to instructions")


def cut(sessions: dict[str, Any]) -> None:
    sessions["101"] = "none"


def lead_out(sessions: dict[str, Any]) -> None:
    sessions["101"][0]["output"] = "../100/100-output1.png"


def lose(sessions: dict[str, Any]) -> None:
    sessions["101"][0]["output"] = "none.png"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut, "'101': is no list of turns"),
        (lead_out, "'101', turn 1: input or output leads out of the session's folder"),
        (lose, "'101', turn 1: its image .*none.png can't be read"),
    ],
)
def test_faults_of_magicbrush_have_their_place(change: Change, words: str, tmp_path: Path) -> None:
    data = save_magicbrush(tmp_path / "data")
    sessions = json.loads((data / "edit_sessions.json").read_text())
    change(sessions)
    (data / "edit_sessions.json").write_text(json.dumps(sessions))
    refuse("magicbrush", data, tmp_path / "to", words)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 3), r"row 2: the session 101 has the turns \[1, 3\]; some lack, fetch it again"),
        ((1, 1), "row 1: turn 1 of 101 was there before, at .*row 2; take one of both out"),
        ((0, 1), "row 2: turn_index is 0; a number from 1 is needed"),
    ],
)
def test_turns_of_magicbrush_are_whole(numbers: tuple[int, int], words: str, tmp_path: Path) -> None:
    data = save_magicbrush_rows(tmp_path / "data", {100: (1,), 101: numbers})
    refuse("magicbrush", data, tmp_path / "to", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_type": "jokes"}, "row 2: task_type is 'jokes'"),
        ({"dimension": "joy"}, "dimension is 'joy', none of prompt_following, consistency, overall"),
        ({"key": ["a"]}, r"key is \['a'\]; two names are needed"),
        ({"output_images": []}, "are not of two different edits"),
        ({"key": ["subject-add-good"] * 2}, "are not of two different edits"),
        (
            {"instruction": "else", "key": ["subject-add-good", "b"]},
            "subject-add-good has other images or an",
        ),
        (
            {"key": ["subject-add-bad", "subject-add-good"], "task_type": "subject-add"},
            "was there before, at",
        ),
    ],
)
def test_faults_of_editscore_have_their_place(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows = editscore_rows()[:5]
    rows[1] |= change
    refuse("editreward-bench", save_editscore(tmp_path / "data", rows), tmp_path / "to", words)


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"dataset": "5pair"}, "dataset is '5pair', none of 2pair"),
        (2, {"comparison_type": "BvsA"}, "comparison_type is 'BvsA', none of AvsB, AvsC, BvsC"),
        (2, {"comparison_type": "AvsD"}, "comparison_type is 'AvsD'"),
        (2, {"ranking": "A>C"}, "ranking is 'A>C', none of A>B"),
        (3, {"comparison_type": "AvsB", "ranking": "A>B"}, "3pair-g2 has the pair A and B twice"),
        (3, {"id": "other_AC"}, "the group 3pair-g2 lacks AvsC; fetch"),
        (3, {"candidate_1": picture(1)}, "3pair-g2-A has other images or another instruction than at"),
    ],
)
def test_faults_of_tiger_lab_have_their_place(
    number: int, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    rows = tiger_rows()
    rows[number] |= change
    refuse("editreward-bench-tiger", save_tiger(tmp_path / "data", rows), tmp_path / "to", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dimension": "joy"}, "pair 2: dimension is 'joy', none of IA, VC, VQ"),
        ({"label": "win"}, "label is 'win', none of preference, tie"),
        ({"loser": "../x.png"}, r"loser is '../x.png', no path below"),
        ({"winner": "none.png"}, "its image .*none.png can't be read"),
        (
            {"source_image": "s0.png", "winner": "l0.png", "loser": "w0.png"},
            "was there before, at .*: pair 1",
        ),
    ],
)
def test_faults_of_compass_have_their_place(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    data = save_compass(tmp_path / "data")
    rows = json.loads(data.read_text())
    rows[1] |= change
    data.write_text(json.dumps(rows))
    refuse("editreward-compass", data, tmp_path / "to", words)


def test_an_image_of_many_items_is_one_file_and_its_bytes_stay(tmp_path: Path) -> None:
    data = save_imgedit(tmp_path / "data", 2)
    do("imgedit", data, tmp_path / "to")
    images = sorted((tmp_path / "to" / "images").iterdir())
    assert len(images) == 9 and {image.suffix for image in images} == {".jpg"}
    given = {path.read_bytes() for path in data.rglob("*.jpg")}
    assert {image.read_bytes() for image in images} == given
    rows = [json.loads(line) for line in (tmp_path / "to" / "manifest.jsonl").read_text().splitlines()]
    assert rows[0].keys() == {"record_id", "image", "instruction", "key", "task_type"}


def test_a_second_call_changes_nothing_and_another_one_is_refused(tmp_path: Path) -> None:
    data = save_gedit(tmp_path / "data", gedit_rows())
    to = tmp_path / "to"
    assert not do("gedit", data, to).already
    before = {path: path.stat().st_mtime_ns for path in to.iterdir() if path.is_file()}
    assert do("gedit", data, to).already
    assert before == {path: path.stat().st_mtime_ns for path in to.iterdir() if path.is_file()}
    with pytest.raises(
        BenchmarkError, match="holds 22 items of gedit, prepared otherwise; choose a new folder"
    ):
        do("gedit", data, to, languages=("en",))
    image = next((to / "images").iterdir())
    whole = image.read_bytes()
    image.unlink()
    assert do("gedit", data, to).already and image.read_bytes() == whole, "what was deleted is there again"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(BenchmarkError, match="holds notes.txt, which is none of a benchmark"):
        do("gedit", data, tmp_path / "full")


def test_what_a_killed_call_left_is_made_whole(tmp_path: Path) -> None:
    data = save_gedit(tmp_path / "data", gedit_rows())
    do("gedit", data, tmp_path / "to")
    whole = {path.relative_to(tmp_path / "to"): path.read_bytes() for path in (tmp_path / "to").rglob("*.*")}
    (tmp_path / "to" / "benchmark.json").unlink()
    (tmp_path / "to" / "manifest.jsonl").write_text("half of")
    with pytest.raises(BenchmarkError, match="was not written by `benchmark prepare`"):
        read_prepared(str(tmp_path / "to"), "gedit", StorageConfig())
    assert not do("gedit", data, tmp_path / "to").already
    assert whole == {p.relative_to(tmp_path / "to"): p.read_bytes() for p in (tmp_path / "to").rglob("*.*")}


def test_a_prepared_benchmark_that_was_changed_or_is_another_is_refused(tmp_path: Path) -> None:
    to = tmp_path / "to"
    do("gedit", save_gedit(tmp_path / "data", gedit_rows()), to)
    assert len(read_prepared(str(to), "gedit", StorageConfig()).items) == 22
    with pytest.raises(BenchmarkError, match="is of gedit, not of imgedit"):
        read_prepared(str(to), "imgedit", StorageConfig())
    lines = (to / "manifest.jsonl").read_text().splitlines(keepends=True)
    (to / "manifest.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(BenchmarkError, match="was changed since it was prepared, so that items may lack"):
        read_prepared(str(to), "gedit", StorageConfig())


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.judge])
def test_the_config_of_each_judge_is_valid_with_or_without_the_owners_words(
    name: str, tmp_path: Path
) -> None:
    config = SUITES[name].judge
    (tmp_path / "judge.yaml").write_text(config)
    sets = [f"input.manifest={tmp_path}/m.jsonl", f"output.uri={tmp_path}/out"]
    found = load_job_config(tmp_path / "judge.yaml", sets, "evaluate")
    assert found.job == "evaluate"
    (tmp_path / "judge.yaml").write_text(config.replace("  # prompts:", "  prompts:"))
    load_job_config(tmp_path / "judge.yaml", sets, "evaluate")
    assert yaml.safe_load(config)["judge"]["type"]
