"""What `make learn` says of counts: hand-worked rates, gains and targets, and stages that are done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.learn.command import SETTINGS, Stage, carry_out, claim
from benchmarks.learn.page import print_table, write_page
from benchmarks.learn.sizes import FULL, QUICK
from benchmarks.learn.successes import TARGETS, Target, check_target, estimate_gain, estimate_rate
from benchmarks.learn.ways import PAIRS, WAYS
from mira_batch.core.errors import RunConflict


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

    chain: Any = SimpleNamespace(folder=tmp_path, seed=0)
    stages = [(chain, Stage(name, make(name))) for name in "abc"]
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        list(carry_out(stages, lines.append))
    done = list(carry_out(stages, lines.append))
    assert made == ["a", "broken", "b", "c"]
    assert [each["figures"]["name"] for each in done] == ["a", "b", "c"]
    assert all(each["cpu_seconds"] >= 0 and each["seconds"] >= 0 for each in done)
    assert list(carry_out(stages, lines.append)) == done and made[-1] == "c"
    assert any(line.startswith("[2/3]") for line in lines) and any("min left" in line for line in lines)


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
    assert "seed-0/compared/closed%20loop%20over%20plan.html" in page or "closed loop over plan.html" in page
