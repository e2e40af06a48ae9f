"""The share of pairs in which one run is preferred, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from mira_batch.evaluate.preferences import estimate_share, summarise_pairs
from mira_batch.evaluate.statistics import (
    StatisticsError,
    bootstrap_mean,
    find_exact_interval,
    find_wilson_interval,
)
from tests.unit.evaluate.rows import make_row, make_scores


@pytest.mark.parametrize("none", [None, ""])
def test_pairs_that_nobody_was_asked_about_have_no_protocol_to_tell(none: str | None) -> None:
    """Those of equal pixels; some rows have an empty text."""
    equal = make_row("a", 0.5, protocol=none, result_digest="x", against_digest="x")
    rows = [equal, make_row("b", 1.0, protocol="pw")]
    scores = make_scores("pairs", rows, input={"against": "a", "manifest": "b"})
    assert summarise_pairs(scores).protocol == "pw" and scores.identity["protocol"] == ["pw"]


def test_pairs_of_an_original_each_without_ties_have_wilsons_interval() -> None:
    values = np.array([1.0] * 30 + [0.0] * 10)
    assert estimate_share(values, np.arange(40)).interval == find_wilson_interval(30, 40)


def test_with_ties_or_several_pairs_of_an_original_it_is_the_bootstrap() -> None:
    values = np.array([1.0] * 20 + [0.5] * 10 + [0.0] * 10)
    for verdicts, clusters in ((values, np.arange(40)), (values[values != 0.5], np.arange(30) // 2)):
        expected = bootstrap_mean(verdicts, clusters, seed=1)
        assert estimate_share(verdicts, clusters) == expected


@pytest.mark.parametrize(("verdict", "low", "high"), [(1.0, None, 1.0), (0.0, 0.0, None), (0.5, None, None)])
def test_where_all_verdicts_are_the_same_it_is_the_exact_one(
    verdict: float, low: float | None, high: float | None
) -> None:
    """By originals: of twelve pairs from six of them no more is known than of six."""
    otherwise = find_exact_interval(0, 6).high
    found = estimate_share(np.full(12, verdict), np.arange(12) // 2).interval
    assert found.low == pytest.approx(verdict * (1 - otherwise) if low is None else low)
    assert found.high == pytest.approx(verdict + (1 - verdict) * otherwise if high is None else high)


def test_different_verdicts_about_one_original_have_no_interval() -> None:
    with pytest.raises(StatisticsError, match="one cluster"):
        estimate_share(np.array([1.0, 0.0]), np.zeros(2, int))
