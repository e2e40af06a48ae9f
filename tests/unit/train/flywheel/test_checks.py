"""What a turn checks before it trains, and of its candidate beside its scores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.compare import Comparison, Failures
from mira_batch.evaluate.statistics import Discordance
from mira_batch.train.flywheel.checks import check_gate, check_measurable, check_names, check_unscored
from tests.unit.config.test_flywheel_config import settings
from tests.unit.evaluate.rows import make_row, make_scores


def compare_failures(
    no_result: tuple[int, int], judge_failed: tuple[int, int], only: tuple[int, int] = (0, 0)
) -> Comparison:
    told = Discordance(0, 0, 1.0)
    return Comparison(
        a="a",
        b="b",
        paired=200,
        only_a=only[0],
        only_b=only[1],
        asked_otherwise=0,
        scored=150,
        scores=(),
        groups={},
        effort=(),
        no_result=Failures(*no_result, told),
        judge_failed=Failures(*judge_failed, told),
        worst=(),
        pairwise=None,
        verdict="",
    )


@pytest.mark.parametrize(
    ("no_result", "judge_failed", "passed"),
    [((10, 10), (0, 0), True), ((10, 14), (0, 0), True), ((10, 14), (0, 1), False), ((50, 0), (0, 9), True)],
)
def test_records_without_a_score_are_counted_whatever_failed(
    no_result: tuple[int, int], judge_failed: tuple[int, int], passed: bool
) -> None:
    found = check_unscored(compare_failures(no_result, judge_failed), 0.02)
    assert found["passed"] is passed
    current, candidate = no_result[0] + judge_failed[0], no_result[1] + judge_failed[1]
    assert found["why"].endswith(", 2 % more of them are allowed")
    assert f"{current} of 200 by the current policy, {candidate} by the candidate" in found["why"]


@pytest.mark.parametrize(
    ("only", "passed"), [((50, 0), False), ((6, 1), False), ((5, 1), True), ((0, 50), True), ((9, 9), True)]
)
def test_records_that_one_evaluation_leaves_out_have_no_score_there(
    only: tuple[int, int], passed: bool
) -> None:
    """`evaluate.input.statuses: [ok]` doesn't hide what the candidate never finishes."""
    found = check_unscored(compare_failures((1, 1), (0, 0), only), 0.02)
    assert found["passed"] is passed
    counts = f"{1 + only[1]} of {200 + sum(only)} by the current policy, {1 + only[0]} by the candidate"
    assert counts in found["why"]
    assert f"left {only[1]} of these out of the judging of the current policy" in found["why"]


def test_what_no_figure_shows_does_not_pass() -> None:
    found = check_gate("overall>=-1", compare_failures((0, 0), (0, 0)))
    assert not found["passed"] and found["why"].startswith("gate overall>=-1: not passed; there is no figure")


def test_where_nothing_has_a_score_the_gate_says_so() -> None:
    found = check_gate("overall>=-1", replace(compare_failures((0, 0), (200, 200)), scored=0))
    assert not found["passed"] and found["why"].endswith("; no record has a score in both evaluations")


def test_a_gate_on_cost_is_refused_only_where_nobody_knows_it() -> None:
    config = load_own_config(FlywheelConfig, settings(gate=["cost<=0"]))
    check_names(config, make_scores("x", [make_row("r", 0.5, edit_cost=0.0)]))
    with pytest.raises(ConfigError, match="there is no figure 'cost'; there are overall, steps, seconds"):
        check_names(config, make_scores("x", [make_row("r", 0.5, edit_cost=None)]))


@pytest.mark.parametrize(("gate", "span"), [("overall>=5", 1), ("overall<=-1.5", 1), ("edit>=30", 10)])
def test_a_limit_that_no_difference_reaches_is_refused(gate: str, span: int) -> None:
    """Of both signs: the one would never be passed, the other always."""
    config = load_own_config(FlywheelConfig, settings(gate=[gate]))
    rows = [make_row("r", 0.5, axes={"edit": 8.0})]
    with pytest.raises(ConfigError, match=rf"gate: {gate}: .* no difference is larger than {span}; give"):
        check_names(config, make_scores("x", rows))


def test_too_few_originals_are_refused_before_a_training() -> None:
    config = load_own_config(FlywheelConfig, settings())
    rows = [make_row(f"r{k}", 0.5, source_digest=f"d{k % 5}") for k in range(10)]
    with pytest.raises(ConfigError, match=r"manifest: 5 original images .* and 6 at least .* Add records"):
        check_measurable(config, make_scores("x", rows))
    check_measurable(config, make_scores("x", [*rows, make_row("r10", 0.5, source_digest="d5")]))
