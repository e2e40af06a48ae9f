"""What of a run's cost went into which model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mira_batch.core.costs import split_cost
from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.core.usage import Usage
from mira_batch.report.figures import dump_summary
from mira_batch.report.progress import describe_parts

LOCAL = Usage.of(worker=120, gpu=100, policy=10, editor=60, judge=10, load=20, policy_waiting=9)


def a_summary(breakdown: Usage, charged: Usage = Usage(), gpu_hour: float = 36.0) -> RunSummary:  # noqa: B008
    tally = Tally(records=4, ok=4, usage=charged)
    return RunSummary("r", "r", 4, 4, total=Receipt(tally=tally, breakdown=breakdown), gpu_hour=gpu_hour)


def whole(summary: RunSummary) -> float:
    return summary.gpu_cost + summary.cost


def test_gpus_are_shared_by_the_seconds_of_calls() -> None:
    summary = a_summary(LOCAL)
    assert summary.gpu_cost == 1.0
    assert split_cost(summary) == pytest.approx({"policy": 0.125, "editor": 0.75, "judge": 0.125})


def test_an_endpoint_has_no_part_in_the_gpus_but_what_it_charged() -> None:
    charged = Usage.paid("judge", 0.25) + Usage.paid("editor", 0.5)
    breakdown = LOCAL + Usage.of(judge=500, judge_served=500)
    summary = a_summary(breakdown, charged)
    found = split_cost(summary)
    assert found == pytest.approx({"policy": 0.125, "editor": 1.25, "judge": 0.375})
    assert found is not None and sum(found.values()) == pytest.approx(whole(summary))
    served = a_summary(Usage.of(worker=9, judge=5, judge_served=5), Usage.paid("judge", 0.25))
    assert split_cost(served) == {"judge": 0.25}


def test_what_cant_be_told_isnt() -> None:
    assert split_cost(a_summary(LOCAL, Usage(cost=0.5))) is None, "charged before it was noted by role"
    assert split_cost(a_summary(LOCAL, Usage(cost=0.5) + Usage.paid("judge", 0.5))) is None
    assert split_cost(a_summary(Usage.of(worker=9, gpu=9, load=9))) is None, "no call yet"
    assert split_cost(a_summary(Usage.of(worker=9, gpu=9, load=9), gpu_hour=0.0)) == {}


def test_it_is_said_with_the_seconds() -> None:
    summary = a_summary(LOCAL, Usage.paid("judge", 0.25))
    assert describe_parts(summary) == (
        "editor $0.75 (60.0 s of calls), judge $0.38 (10.0 s of calls), policy $0.12 (10.0 s of calls)"
    )
    assert dump_summary(summary)["cost_by_role"] == split_cost(summary)
    assert describe_parts(replace(summary, total=Receipt())) == ""
