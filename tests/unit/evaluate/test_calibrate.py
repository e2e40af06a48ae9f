"""A judge against people, from the scores of an evaluation and decisions about its results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mira_batch.evaluate.calibrate import Calibration, calibrate
from mira_batch.evaluate.statistics import StatisticsError
from mira_batch.report.judged import describe_calibration
from tests.unit.evaluate.rows import make_row, make_scores

RESULTS = 900
VALUES = [1 / 3, 2 / 3, 1.0]
SCORES = make_scores(
    "run", [make_row(f"r{i}", VALUES[i % 3], result_digest=f"{i:032x}") for i in range(RESULTS)]
)


def decide(count: int, good: Callable[[float], bool], most_bad: float = 0.05) -> Calibration:
    drawn = np.random.default_rng(1).permutation(RESULTS)[:count]
    words = {True: "approve", False: "reject"}
    said = {(f"r{i}", f"{i:032x}"): words[good(VALUES[i % 3])] for i in drawn}
    return calibrate(SCORES, said, most_bad)


def test_that_all_are_good_gives_a_threshold_although_agreement_cannot_be_told() -> None:
    found = decide(300, lambda score: True)
    assert found.acceptance and (found.acceptance.threshold, found.acceptance.share) == (1 / 3, 1.0)
    assert found.agreement is None and "300 good and 0 bad" in found.agreement_note
    text = "\n".join(describe_calibration(found))
    assert "accept from 0.3333333333333333 on: 100 % of all results" in text
    assert "agreement: unknown; 300 good and 0 bad" in text and "pass rate: unknown; 300 good" in text
    assert text.endswith(
        "all of this holds if the decided results were drawn at random, without a look at the scores"
    )


def test_too_few_for_a_threshold_still_say_how_far_judge_and_people_agree() -> None:
    found = decide(50, lambda score: score > 0.5)
    assert found.acceptance is None and "takes 59 at least" in found.acceptance_note
    assert found.agreement and found.agreement.ranking == 1 and found.pass_rate
    assert "no threshold: 50 decisions: to promise at most 5 %" in "\n".join(describe_calibration(found))


def test_a_threshold_is_printed_so_that_it_can_be_used() -> None:
    """0.667 would leave out each result of 2/3."""
    found = decide(300, lambda score: score > 0.5)
    line = next(line for line in describe_calibration(found) if line.startswith("accept from"))
    assert float(line.split()[2]) == 2 / 3 and "67 % of all results" in line


def test_where_all_are_decided_the_rate_is_what_they_say() -> None:
    found = decide(RESULTS, lambda score: score > 0.5)
    assert found.pass_rate is None and "Where all are decided the rate is" in found.pass_rate_note


def test_decisions_on_the_best_alone_are_refused() -> None:
    best = [row for row in SCORES.results if row["values"]["overall"] == 1]
    said = {(row["of"], row["result_digest"]): "approve" for row in best}
    with pytest.raises(StatisticsError, match="score 1.000 on the mean, all results 0.667.*no random sample"):
        calibrate(SCORES, said, 0.05)


@pytest.mark.parametrize("count", [1, 49])
def test_fewer_than_fifty_are_refused(count: int) -> None:
    with pytest.raises(StatisticsError, match=f"{count} decisions: 50 at least"):
        decide(count, lambda score: True)
