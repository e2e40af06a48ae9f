"""What `make learn` says of counts: hand-worked rates, gains and targets, and stages that are done once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.learn.command import SETTINGS, claim
from benchmarks.learn.editor_ways import EDITOR_TARGETS, EDITOR_WAYS, sum_up_editors
from benchmarks.learn.edits import count_agreed, draw_pairs
from benchmarks.learn.page import print_table, write_page
from benchmarks.learn.sizes import FULL, QUICK
from benchmarks.learn.stages import Stage, carry_out
from benchmarks.learn.successes import TARGETS, Target, check_target, estimate_gain, estimate_rate
from benchmarks.learn.ways import PAIRS, WAYS
from mira_batch.core.errors import RunConflict
from mira_batch.train.world.tasks import find_split


def solve(*which: int, of: int = 10) -> dict[str, bool]:
    return {f"t{number}": number in which for number in range(of)}


def test_a_rate_of_one_seed_is_over_tasks() -> None:
    rate = estimate_rate([solve(*range(7))])
    assert rate.value == pytest.approx(0.7)
    assert (rate.low, rate.high) == (pytest.approx(0.3968, abs=1e-4), pytest.approx(0.8922, abs=1e-4))


def test_a_rate_of_several_seeds_is_over_seeds() -> None:
    rate = estimate_rate([solve(*range(6)), solve(*range(7)), solve(*range(8))])
    half = 4.30265 * 0.1 / 3**0.5  # Student's 0.975 at two degrees of freedom
    assert rate.value == pytest.approx(0.7)
    assert (rate.low, rate.high) == (pytest.approx(0.7 - half, abs=1e-4), pytest.approx(0.7 + half, abs=1e-4))


def test_a_gain_is_task_by_task() -> None:
    gain = estimate_gain([solve(*range(8))], [solve(*range(4))])
    assert gain.value == pytest.approx(0.4) and 0 < gain.low < 0.4 < gain.high < 1
    both = estimate_gain([solve(0, 1), solve(0, 1, 2)], [solve(0), solve(0)])
    assert both.value == pytest.approx(0.15) and both.low == pytest.approx(0.15 - 12.7062 * 0.05, abs=1e-3)
    with pytest.raises(KeyError):
        estimate_gain([solve(0)], [{"another": True}])


def test_a_target_is_a_rate_or_a_gain() -> None:
    solved = {"a": [solve(*range(8))], "b": [solve(*range(5))]}
    assert check_target(Target("", "a", None, 0.7), solved).value == pytest.approx(0.8)
    assert check_target(Target("", "a", "b", 0.1), solved).value == pytest.approx(0.3)


def test_targets_and_pairs_are_of_ways_that_are_measured() -> None:
    names = {way.name for way in WAYS}
    assert {name for target in TARGETS for name in (target.way, target.against) if name} <= names
    assert {name for pair in PAIRS.values() for name in pair} <= names
    rates = {way.name: way.failures for way in WAYS}
    assert all(rates[a] == rates[b] for a, b in PAIRS.values())  # one editor, or it is no comparison
    assert all(rates[t.way] == rates[t.against] for t in TARGETS if t.against)
    assert FULL.test_tasks >= 300


def test_stages_are_made_once(tmp_path: Path) -> None:
    made: list[str] = []

    def make(name: str) -> Callable[[], dict[str, Any]]:
        def do() -> dict[str, Any]:
            if name == "b" and made == ["a"]:
                made.append("broken")
                raise KeyboardInterrupt
            made.append(name)
            return {"name": name}

        return do

    stages = [Stage(name, tmp_path / "stages" / f"{name}.json", make(name)) for name in "abc"]
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        carry_out(stages, 0, lines.append)
    assert [stage.is_done for stage in stages] == [True, False, False]
    carry_out(stages, 0, lines.append)
    done = [json.loads(stage.file.read_text()) for stage in stages]
    assert made == ["a", "broken", "b", "c"]
    assert [each["figures"]["name"] for each in done] == ["a", "b", "c"]
    assert all(each["cpu_seconds"] >= 0 and each["seconds"] >= 0 for each in done)
    carry_out(stages, 0, lines.append)
    assert made[-1] == "c"
    assert any(line.startswith("[2/3]") for line in lines) and any("min left" in line for line in lines)


def test_a_stage_waits_for_what_it_needs_of_another_lane(tmp_path: Path) -> None:
    other, lines = tmp_path / "other.json", list[str]()

    def note(text: str) -> None:
        lines.append(text)
        if "waits" in text:
            other.write_text("{}")

    def make() -> dict[str, Any]:
        return {"there": other.exists()}

    stage = Stage("a", tmp_path / "a.json", make, (other,))
    carry_out([stage], 0, note)
    assert lines[0] == "[1/1] a: waits for another lane"
    assert json.loads(stage.file.read_text())["figures"] == {"there": True}


def test_a_folder_is_of_one_size(tmp_path: Path) -> None:
    claim(tmp_path, QUICK)
    claim(tmp_path, QUICK)
    with pytest.raises(RunConflict, match="of another size"):
        claim(tmp_path, replace(QUICK, sft_steps=QUICK.sft_steps + 1))
    assert (tmp_path / SETTINGS).exists()


def test_seeds_are_a_number(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("0", "three"):
        monkeypatch.setenv("SEEDS", wrong)
        assert main(["learn"]) == 2
        assert f"SEEDS is {wrong!r}" in capsys.readouterr().err


def test_the_table_says_what_is_not_met(tmp_path: Path) -> None:
    found = {
        "seeds": 1,
        "size": FULL.dump(),
        "ways": [
            {
                "name": "closed", "title": "SFT, closed loop", "failures": 0.15, "value": 0.5, "low": 0.44,
                "high": 0.56, "solved": 150, "tasks": 300, "edits": 2.5, "ends": {"policy_stop": 300},
            }
        ],
        "targets": [
            {"title": "SFT, closed loop", "least": 0.7, "met": False, "value": 0.5, "low": 0.44, "high": 0.56}
        ],
        "editors": {
            "ways": [
                {
                    "name": "nft", "title": "editor-nft", "value": 0.7, "low": 0.6, "high": 0.8, "solved": 21,
                    "tasks": 30, "spared": 0.9876,
                }
            ],
            "targets": [
                {"title": "over editor-sft", "least": 0.0, "met": True, "value": 0.2, "low": 0.1, "high": 0.3}
            ],
        },
        "pairs": ["closed loop over plan"],
        "stages": [
            {"seed": 0, "stage": "base", "seconds": 60.0, "cpu_seconds": 90.0, "figures": {"loss": 0.25}}
        ],
        "seconds": 60.0,
        "cpu_seconds": 90.0,
    }  # fmt: skip
    text = "\n".join(print_table(found))
    assert "150/300" in text and "NOT MET" in text and "1.5 min of CPU" in text
    page = write_page(tmp_path, found).read_text()
    assert "not met" in page and "seed-0/ways/closed/run/report.html" in page and "loss 0.250" in page
    assert "21/30" in text and "0.9876" in text and "+0.200" in text
    assert "21 of 30" in page and "seed-0/editor/ways/nft/run/report.html" in page
    assert "seed-0/compared/closed%20loop%20over%20plan.html" in page or "closed loop over plan.html" in page


def write_seed(nft: int, loop: int) -> dict[str, dict[str, dict[str, float]]]:
    """A seed's edits: so many of ten solved by the editor of editor-nft, and in the loop with it; four by all
    others."""
    counts = {way.name: 4 for way in EDITOR_WAYS} | {"nft": nft, "loop-nft": loop}
    spared = {name: 0.9 if name == "nft" else 0.8 for name in counts}
    return {
        name: {
            "solved": {f"t{number}": float(number < count) for number in range(10)},
            "spared": {f"t{number}": spared[name] for number in range(10)},
        }
        for name, count in counts.items()
    }


def test_editors_are_held_against_each_other_edit_by_edit() -> None:
    found = sum_up_editors([write_seed(8, 4), write_seed(9, 4), write_seed(8, 5)], [0.8, 0.9, 0.7])
    rows = {row["name"]: row for row in found["ways"]}
    assert (rows["nft"]["solved"], rows["nft"]["tasks"]) == (25, 30)
    assert rows["nft"]["value"] == pytest.approx(25 / 30) and rows["sft"]["value"] == pytest.approx(0.4)
    assert rows["nft"]["spared"] == pytest.approx(0.9) and rows["sft"]["spared"] == pytest.approx(0.8)
    told = {(target["title"], target["met"]): target["value"] for target in found["targets"]}
    assert told["editor-nft by the truth over editor-sft", True] == pytest.approx(13 / 30)
    assert told["what editor-nft by the truth spares more", True] == pytest.approx(0.1)
    assert told["what editor-nft by a judge spares more", True] == pytest.approx(0.0)
    # It gains a little, and not by more than its interval.
    assert told["the policy with the better editor over the policy", False] == pytest.approx(1 / 30)
    assert told["editor-nft by a score-logit judge over editor-sft", False] == 0
    assert told["the judge says what the truth says, of pairs", True] == pytest.approx(0.8)
    unknown = sum_up_editors([write_seed(8, 4), write_seed(9, 4)], [0.8, None])
    assert len(unknown["targets"]) == len(found["targets"]) - 1


def test_targets_of_editors_are_of_ways_that_are_measured() -> None:
    names = {way.name for way in EDITOR_WAYS}
    assert {name for target in EDITOR_TARGETS for name in (target.way, target.against)} <= names


def test_a_judge_agrees_where_it_tells_samples_of_a_record_apart_as_the_truth_does() -> None:
    truth = {("a", 0): 1.0, ("a", 1): 0.0, ("a", 2): 0.0, ("b", 0): 1.0, ("b", 1): 1.0, ("c", 0): 0.0}
    said = {("a", 0): 0.6, ("a", 1): 0.2, ("a", 2): 0.6, ("b", 0): 0.1, ("b", 1): 0.9, ("c", 0): 1.0}
    assert count_agreed(truth, said) == (2, 1.5)  # a pair as the truth, and one alike
    assert count_agreed({("b", 0): 1.0, ("b", 1): 1.0}, said) == (0, 0.0)


def test_no_pair_that_is_learned_from_shows_a_held_out_scene() -> None:
    pairs = [*draw_pairs("train", 60, 0)]
    assert all(find_split(*map(str, scene.cells)) == "train" for p in pairs for scene in (p.source, p.target))
    assert len({(p.source, p.edit) for p in pairs}) == 60 and [*draw_pairs("train", 20, 0)] == pairs[:20]
    assert all(find_split(*map(str, p.source.cells)) == "test" for p in draw_pairs("test", 20, 1))
