"""Comparisons of evaluations in which little can be said: few originals, no score, one answer throughout."""

from __future__ import annotations

import json
import re

import pytest
from rich.table import Table

from mira_batch.cli import main
from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.compare import compare
from mira_batch.evaluate.gate import parse_gate
from mira_batch.evaluate.scores import Scores, join_scales
from mira_batch.report.judged import describe_comparison
from mira_batch.report.plots import lay_effort
from tests.unit.evaluate.rows import make_row, make_scores


def say(a: Scores, b: Scores) -> str:
    return "\n".join(str(part) for part in describe_comparison(compare(a, b)))


def show_rows(a: Scores, b: Scores) -> list[str]:
    """The names of the table's rows."""
    (table,) = (part for part in describe_comparison(compare(a, b)) if isinstance(part, Table))
    return [str(cell) for cell in table.columns[0].cells]


def test_records_of_one_original_are_compared_and_it_is_said_that_there_is_no_interval() -> None:
    a, b = (make_scores("x", [make_row(f"r{i}", score, "one") for i in range(3)]) for score in (0.5, 1.0))
    found = compare(a, b)
    assert (found.scored, found.scores[0].difference, found.scores[0].interval) == (3, 0.5, None)
    assert "no interval: All values come from one cluster" in say(a, b)
    with pytest.raises(ConfigError, match="overall has no interval: All values come from one cluster"):
        parse_gate("overall>=0").check(found)


def test_nothing_scored_in_both_is_said_and_no_fault() -> None:
    a = make_scores("a", [make_row("r1", 0.5), make_row("r2", None)])
    b = make_scores("b", [make_row("r1", None), make_row("r2", 0.5)])
    found = compare(a, b)
    assert (found.paired, found.scored, list(found.scores)) == (2, 0, [])
    assert found.verdict == "No record has a score in both: scores can't say which is better."


def test_the_same_scores_twice_have_an_interval_and_nothing_says_otherwise() -> None:
    rows = [make_row(f"r{i}", 0.5) for i in range(8)]
    text = say(make_scores("a", rows), make_scores("b", rows))
    assert "no interval" not in text
    assert "the smallest difference that shows is unknown: All differences are the same" in text


@pytest.mark.parametrize("axis", ["Physical & Detail Integrity", "judge.SC", "success (0-10)"])
def test_each_axis_can_be_gated(axis: str) -> None:
    a, b = (
        make_scores("x", [make_row(f"r{i}", 0.5, axes={axis: value}) for i in range(8)]) for value in (1, 2)
    )
    passed, why = parse_gate(f"{axis} >= 0.5").check(compare(a, b))
    assert passed and why.startswith(f"gate {axis} >= 0.5: passed")


def test_an_evaluation_without_a_score_is_no_other_judge() -> None:
    a = make_scores("a", [make_row("r1", 0.5), make_row("r2", 0.5)])
    b = make_scores("b", [make_row("r1", None), make_row("r2", None)])
    found = compare(a, b)
    assert (found.paired, found.scored, found.judge_failed.b) == (2, 0, 2)


def test_two_originals_are_too_few_to_say_who_is_better() -> None:
    rows = [[make_row(f"r{i}", score + 0.1 * i) for i in range(5)] for score in (0.1, 0.5)]
    found = compare(*(make_scores("x", each) for each in rows))
    assert found.scores[0].interval is None and found.scores[0].p == 2 / 2**5
    assert found.verdict == "B is +0.400 overall; how sure that is can't be told."
    with pytest.raises(ConfigError, match="no interval: All values come from 5 clusters"):
        parse_gate("overall>=0").check(found)


def test_what_costs_nothing_has_a_cost_that_can_be_gated_and_no_line() -> None:
    free, dear, unknown = (
        make_scores("x", [make_row(f"r{i}", 0.5, edit_cost=cost) for i in range(8)])
        for cost in (0.0, 0.25, None)
    )
    passed, why = parse_gate("cost<=0").check(compare(free, free))
    assert passed and why.startswith("gate cost<=0: passed")
    assert not parse_gate("cost<=0").check(compare(free, dear))[0]
    assert [show_rows(free, free), show_rows(free, dear)] == [
        ["overall", "steps", "seconds"],
        ["overall", "steps", "seconds", "cost"],
    ]
    assert [pair.label for pair in lay_effort(compare(free, free))] == [
        "overall score", "edits of a record", "time of a record"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="there is no figure 'cost'"):
        parse_gate("cost<=0").check(compare(free, unknown))


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ("overall>=7", "--gate overall>=7: overall lies between 0 and 1, .* give a limit from -1 to 1"),
        ("overall<=-1.5", "--gate overall<=-1.5: .* no difference is larger than 1; give a limit from -1 to"),
        ("pairwise>=7", "--gate pairwise>=7: pairwise is a share of pairs; give a limit from 0 to 1"),
        ("pairwise>=-0.1", "--gate pairwise>=-0.1: .* give a limit from 0 to 1"),
        ("overall>=nan", "--gate 'overall>=nan': give a name, >= or <=, and a number"),
        (f"steps<={'9' * 400}", "--gate steps<=…: the limit has too many digits"),
    ],
)
def test_a_limit_that_is_out_of_range_is_refused_before_anything_is_read(
    capfd: pytest.CaptureFixture[str], gate: str, problem: str
) -> None:
    assert main(["compare", "nowhere", "nowhere", "--gate", gate, "--json"]) == 2
    assert re.search(problem, json.loads(capfd.readouterr().out)["error"])


def test_a_limit_beyond_the_scale_of_an_axis_is_refused() -> None:
    """Of both signs: the one would never be passed, the other always."""
    a, b = (
        make_scores("x", [make_row(f"r{i}", 0.5, axes={"edit": value}) for i in range(8)]) for value in (1, 2)
    )
    for limit in ("10", "-10"):
        parse_gate(f"edit>={limit}").check_limit(join_scales(a, b))
    for limit in ("10.5", "-200"):
        with pytest.raises(ConfigError, match=f"--gate edit>={limit}: .* give a limit from -10 to 10"):
            parse_gate(f"edit>={limit}").check_limit(join_scales(a, b))
    parse_gate("seconds<=-200").check_limit(join_scales(a, b))  # it has no scale
