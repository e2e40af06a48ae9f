"""The simulated world of acceptance: its truth, its judges, and what the strategies come to in it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.acceptance import FIGURES, MAIN, OTHERS
from benchmarks.acceptance_chart import draw
from benchmarks.acceptance_ways import (
    STRATEGIES,
    THRESHOLDS,
    WORLD,
    WORLDS,
    Outcome,
    Strategy,
    compare_to_chance,
    measure_agreement,
    measure_doubt,
    run_strategy,
)
from benchmarks.acceptance_world import Image, World, _find_chance, judge, make_original
from benchmarks.figure import Bench
from mira_batch.core.ports import JudgeRequest
from mira_batch.core.types import Frame, Limits

FEW = 120
PERFECT = replace(WORLD, noise=0.0, taste=0.0)


def verdicts(world: World, count: int) -> list[tuple[float, float, float]]:
    """Truth, score and entropy of many images."""
    found = []
    for number in range(count):
        original = make_original(world, number)
        edits = original.pixels.edits
        image = Image(edits, frozenset(range(number % (edits + 1))))
        request = JudgeRequest(f"r{number}", "", original, Frame(image, f"i{number}"), "")
        said = judge(world, request, "first")
        found.append((image.truth, said.score, said.validity["entropy"]))
    return found


def test_records_and_failures_are_drawn_as_assumed() -> None:
    edits = [make_original(WORLD, number).pixels.edits for number in range(4_000)]
    shares = [edits.count(number) / len(edits) for number in (1, 2, 3, 4)]
    assert shares == pytest.approx(WORLD.edits, abs=0.03)
    chances = [_find_chance(WORLD, f"r{number}", "edit 0") for number in range(4_000)]
    assert np.mean(chances) == pytest.approx(WORLD.fails, abs=0.02)
    a, b = WORLD.fails * WORLD.spread, (1 - WORLD.fails) * WORLD.spread
    assert np.var(chances) == pytest.approx(a * b / ((a + b) ** 2 * (a + b + 1)), rel=0.1), "as of a beta"


def test_without_models_that_err_the_loop_is_perfect() -> None:
    found = run_strategy(replace(WORLD, fails=0.0), Strategy(judges="none"), FEW)
    assert found.whole.all()
    assert found.count("editor") == np.mean([make_original(WORLD, n).pixels.edits for n in range(FEW)])
    assert found.count("judge") == 0


def test_a_judge_that_errs_less_is_worth_more_and_its_entropy_tells_its_error() -> None:
    assert measure_agreement(PERFECT, "first", FEW) == 1.0
    assert measure_agreement(WORLD, "first", 600) < measure_agreement(WORLD, "second", 600) < 1.0
    told, silent = (
        np.corrcoef(
            [(abs(score - truth), doubt) for truth, score, doubt in verdicts(world, 1_500)], rowvar=False
        )
        for world in (WORLD, replace(WORLD, tells=False))
    )
    assert told[0, 1] > 0.5 > 0.4 > silent[0, 1], "what is left is that ends of a scale are told more easily"
    assert all(0 <= score <= 1 and 0 <= doubt <= math.log(6) for _, score, doubt in verdicts(WORLD, 300))


def test_where_a_judge_is_unsure_is_measured_on_what_the_gate_took() -> None:
    sure, unsure = measure_doubt(WORLD, FEW)
    assert 0.5 < unsure < 0.95 and 0.5 < sure < 0.95
    assert measure_doubt(replace(WORLD, fails=0.0), FEW) == (1.0, 1.0)


def test_each_strategy_spends_what_it_says() -> None:
    found = {name: run_strategy(WORLD, strategy, FEW) for name, strategy in STRATEGIES.items()}
    calls = {name: each.count("editor") for name, each in found.items()}
    assert calls["no judge"] < calls["gate"] < calls["best of 2"] < calls["best of 4"]
    assert calls["gate"] < calls["seed if unsure"] < calls["best of 4"]
    for name, each in found.items():
        judged = each.calls["judge"] + each.calls["second judge"] * (name == "second judge")
        assert (judged == (each.calls["editor"] if name != "no judge" else 0)).all()
    asked = found["second if unsure"]
    assert 0 < asked.count("second judge") < asked.count("judge")
    assert (asked.calls["second judge"] <= asked.calls["judge"]).all()
    again = Strategy(Limits(attempts_per_step=4, unsure_above=0.0))
    assert run_strategy(WORLD, again, FEW).count("editor") > 0.95 * calls["best of 4"], (
        "as good as never sure"
    )


def test_chance_is_a_mix_of_the_next_cheaper_and_the_next_dearer_way() -> None:
    def outcome(calls: float, whole: int) -> Outcome:
        truth = np.array([1.0] * whole + [0.5] * (10 - whole))
        return Outcome(truth, {"editor": np.full(10, calls)})

    ladder = [outcome(2, 4), outcome(4, 6), outcome(8, 8)]
    assert compare_to_chance(outcome(3, 7), ladder, "editor").value == pytest.approx(0.7 - 0.5)
    assert compare_to_chance(outcome(7, 7), ladder, "editor").value == pytest.approx(0.7 - 0.75)
    assert compare_to_chance(outcome(8, 8), ladder, "editor").value == pytest.approx(0.0)


def test_the_topic_measures_the_same_again_and_draws_it(tmp_path: Path) -> None:
    class Short(Bench):
        def size(self, full: int, quick: int) -> int:
            return 40

    figures = [figure for measure in FIGURES for figure in measure(Short(tmp_path, quick=True))]
    run_strategy.cache_clear()
    assert [figure for measure in FIGURES for figure in measure(Short(tmp_path, quick=True))] == figures
    assert len({figure.name for figure in figures}) == len(figures)
    rows = {
        table: [f.cell.row for f in figures if f.cell and f.cell.table == table] for table in (MAIN, OTHERS)
    }
    assert set(rows[MAIN]) == {*STRATEGIES, *THRESHOLDS} and set(rows[OTHERS]) == set(WORLDS)
    drawn = draw(figures, MAIN).splitlines()
    assert len(drawn) == len(STRATEGIES) + len(THRESHOLDS) + 2
    assert sum("o" in line[18:78] and "-" in line[18:78] for line in drawn[1:-1]) == len(drawn) - 2
    calls = [float(line.split()[-1]) for line in drawn[1:-1]]
    assert calls == sorted(calls)
    assert draw([], MAIN) == ""
