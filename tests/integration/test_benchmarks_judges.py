"""Benchmarks of judges: edits that people compared, held against a judge at a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch.evaluate.benchmarks.pairs import EDITSCORE_GROUPS, EDITSCORE_TYPES
from tests.support.published import (
    editscore_rows,
    picture,
    save_compass,
    save_editscore,
    save_tiger,
    tiger_rows,
)
from tests.support.runs.benchmarks import evaluate
from tests.support.runs.commands import Commands
from tests.support.runs.nights import Nights
from tests.support.servers.bodies import token_json
from tests.support.servers.models import Answer, Asked, ModelServer


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd)


def know(numbers: Mapping[int, Any]) -> Mapping[bytes, Any]:
    """What is known of pictures, by their pixels."""
    return {picture(number).tobytes(): value for number, value in numbers.items()}


def look_up(known: Mapping[bytes, Any], image: Image.Image) -> Any:
    return known[image.convert("RGB").tobytes()]


def test_pairs_of_editscores_from_the_data_set_to_the_table_and_layout(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    """By prompt following the judge is right but of colours, which tie; by consistency it is always wrong; of
    the last type it has no valid answer."""
    data = save_editscore(tmp_path / "data", editscore_rows())
    prepared = tmp_path / "prepared"
    found = cli.json("benchmark", "prepare", "editreward-bench", data, "--to", prepared)
    assert found["items"] == 26, "two rows a pair, an edit that is in several pairs once"
    assert found["counts"] == {"pairs": 39, "prompt_following": 13, "consistency": 13, "overall": 13}
    types = list(EDITSCORE_TYPES)
    tied, mute = types.index("color_alter"), len(types) - 1
    known = know(
        {100 + n: (10 if n == tied else 20, 4) for n in range(13)} | {200 + n: (10, 5) for n in range(13)}
    )

    def script(asked: Asked) -> Answer:
        if len(asked.images) == 1:
            return Answer(json.dumps({"reasoning": "so", "score": [25, 25]}))
        if asked.images[1].tobytes() == picture(100 + mute).tobytes():
            return Answer("rather nice")
        return Answer(json.dumps({"reasoning": "so", "score": look_up(known, asked.images[1])}))

    server.script = script
    scored = evaluate(cli, prepared / "manifest.jsonl", prepared, server)
    table = cli.json("benchmark", "table", "editreward-bench", scored)
    assert (table["items"], table["judged"], table["failed"]) == (26, 25, 1)
    following, consistency, overall = (table["figures"][name] for name in table["figures"])
    accuracy = {name: mean["value"] for name, mean in following["types"].items()}
    assert accuracy == {name: None if n == mute else float(n != tied) for n, name in enumerate(types)}
    assert following["ties"] == 1 and following["types"][types[mute]]["failed"] == 1
    assert following["groups"]["appearance"]["value"] == 3 / 4, "a tie is wrong"
    assert following["average"]["value"] is None, "a mean of twelve types is another figure"
    assert set(EDITSCORE_GROUPS) == set(following["groups"])
    assert (
        {m["value"] for m in consistency["types"].values()}
        == {0.0, None}
        == {m["value"] for m in overall["types"].values()}
    )
    text = cli.text("benchmark", "table", "editreward-bench", scored)
    assert "INCOMPLETE" in text and "macro mean of the 13 types" in text
    other = cli.json("benchmark", "table", "editreward-bench", scored, "--axis", "overall=prompt_following")
    assert other["figures"]["overall"]["types"] == following["types"]
    assert "overall: the judge's axis prompt_following" in other["notes"]
    error = cli.json("benchmark", "table", "editreward-bench", scored, "--axis", "overall=beauty", code=2)
    assert "this judge has no axis 'beauty'; it has overall, prompt_following" in error["error"]
    check_layout(cli, scored, tmp_path / "official", types)


def check_layout(cli: Commands, scored: Path, to: Path, types: list[str]) -> None:
    """The owners' script reads <type>/<dimension>.jsonl, and compares the two scores of each line."""
    words = ("benchmark", "layout", "editreward-bench", scored, "--to", to)
    assert "3 of 39 pairs have no scores (failed 3)" in cli.json(*words, code=2)["error"]
    assert cli.json(*words, "--partial")["written"] == 36
    right = {}
    for path in sorted(to.rglob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        right[path.parent.name, path.stem] = [line["score"][0] > line["score"][1] for line in lines]
    assert right["color_alter", "prompt_following"] == [False]
    assert right["style_change", "prompt_following"] == [True] != right["style_change", "consistency"]
    assert {kind for kind, _ in right} == set(types[:-1])


def test_a_judge_with_one_score_has_a_table_of_the_overall_dimension_alone(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    data = save_editscore(tmp_path / "data", editscore_rows())
    prepared = tmp_path / "prepared"
    cli.json("benchmark", "prepare", "editreward-bench", data, "--to", prepared)
    known = know({100 + n: "4" for n in range(13)} | {200 + n: "2" for n in range(13)})
    server.script = lambda asked: Answer(token_json([(look_up(known, asked.images[1]), 0.0)]))
    judge = "{type: score_logit, backend: {type: openai, model: tiny}}"
    scored = evaluate(cli, prepared / "manifest.jsonl", prepared, server, judge)
    table = cli.json("benchmark", "table", "editreward-bench", scored)
    assert list(table["figures"]) == ["overall"] and table["figures"]["overall"]["average"]["value"] == 1.0
    assert (
        "no table of consistency: this judge has no axis for it; --axis consistency=overall takes its "
        in str(table["notes"])
    )
    words = ("benchmark", "layout", "editreward-bench", scored, "--to", tmp_path / "official")
    assert "the owners' script needs all dimensions" in cli.json(*words, code=2)["error"]


def test_groups_of_tiger_lab_from_the_data_set_to_the_table(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    data = save_tiger(tmp_path / "data", tiger_rows())
    prepared = tmp_path / "prepared"
    found = cli.json("benchmark", "prepare", "editreward-bench-tiger", data, "--to", prepared)
    assert found["items"] == 2 + 2 + 3 + 4 and found["counts"] == {
        "pairs": 1 + 1 + 3 + 6, "groups of 2": 2, "groups of 3": 1, "groups of 4": 1,
    }  # fmt: skip
    digits = {(1, "A"): 4, (1, "B"): 2, (2, "A"): 3, (2, "B"): 3}
    digits |= {(3, "A"): 5, (3, "B"): 3, (3, "C"): 2}
    digits |= {(4, "A"): 5, (4, "B"): 3, (4, "C"): 4, (4, "D"): 1}
    known = know({100 * group + ord(letter): str(digit) for (group, letter), digit in digits.items()})
    server.script = lambda asked: Answer(token_json([(look_up(known, asked.images[1]), 0.0)]))
    scored = evaluate(cli, prepared / "manifest.jsonl", prepared, server)
    figures = cli.json("benchmark", "table", "editreward-bench-tiger", scored)["figures"]
    groups = {name: row["groups"]["value"] for name, row in figures.items()}
    assert groups == {"2": 1.0, "3": 1.0, "4": 0.0, "overall": 3 / 4}, (
        "one pair of the four is in the wrong order"
    )
    pairs = {name: row["pairs"]["value"] for name, row in figures.items()}
    assert pairs == {"2": 1.0, "3": 1.0, "4": 5 / 6, "overall": 10 / 11}
    layout = ("benchmark", "layout", "editreward-bench-tiger", scored, "--to", tmp_path / "x")
    assert "editreward-bench-tiger has none" in cli.json(*layout, code=2)["error"]


def test_pairs_of_compass_from_the_data_set_to_the_table(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    data = save_compass(tmp_path / "data")
    prepared = tmp_path / "prepared"
    found = cli.json("benchmark", "prepare", "editreward-compass", data, "--to", prepared)
    assert found["counts"] == {"pairs": 6, "IA": 2, "VC": 2, "VQ": 2, "ties": 3} and found["items"] == 12

    def script(asked: Asked) -> Answer:
        """Of IA both are right, of VC the tie alone, of VQ the preference alone."""
        better = {0: [20, 5], 1: [9, 9], 2: [9, 9], 3: [9, 9], 4: [9, 9], 5: [9, 9]}
        known = know({50 + n: value for n, value in better.items()} | {100 + n: [9, 9] for n in better})
        looks = know({50 + n: 20 if n >= 4 else 9 for n in better} | {100 + n: 9 for n in better})
        if len(asked.images) == 1:
            quality = look_up(looks, asked.images[0])
            return Answer(json.dumps({"reasoning": "so", "score": [quality, quality]}))
        return Answer(json.dumps({"reasoning": "so", "score": look_up(known, asked.images[1])}))

    server.script = script
    scored = evaluate(cli, prepared / "manifest.jsonl", prepared, server)
    table = cli.json("benchmark", "table", "editreward-compass", scored)
    values = {name: mean["value"] for name, mean in table["figures"].items()}
    assert values == {"IA": 1.0, "VC": 0.5, "VQ": 0.5, "average": pytest.approx(2 / 3)}
    assert "VQ: the judge's axis PQ" in table["notes"]
