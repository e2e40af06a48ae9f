"""What little costs look like wherever they are shown: never like nothing."""

from __future__ import annotations

from pathlib import Path

from mira_batch.catalogue.health import Night
from mira_batch.config.shared import RunLimits
from mira_batch.core.receipts import Estimate, Range, Receipt, RunSummary, Tally
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.usage import Usage
from mira_batch.report.causes import describe_estimate
from mira_batch.report.night import describe_night
from mira_batch.report.progress import cost_line, describe_live
from mira_batch.runtime.drive import check_cost
from mira_batch.runtime.live import LiveState
from tests.unit.report.runs import Run, row

WHEN = "2026-11-26T01:00:00+00:00"
LITTLE = Receipt(tally=Tally(records=4, ok=4, usage=Usage(cost=0.0008)), breakdown=Usage.of(gpu=1.0))
SUMMARY = RunSummary("out/r", "r", planned=4, committed=4, total=LITTLE, gpu_hour=3.6)


def test_a_summary_says_what_little_it_cost() -> None:
    words = "$0.0018  (GPUs $0.0010, endpoints $0.00080; $0.0004 an accepted image)"
    assert cost_line(SUMMARY) == words


def test_a_plan_says_what_little_it_would_cost() -> None:
    span = Range(0.00002, 0.004)
    text = describe_estimate(Estimate(1, Range(2, 2), span, span, Range(0.0, 0.0)))
    assert "0.000020 to 0.0040 worker hours, $0.000020 to $0.0040, 0.00 hours on 1 worker" in text


def test_a_live_run_and_a_night_say_what_little_they_cost() -> None:
    live = LiveState(WHEN, 60, "r", 4, 0, 4, 4, 4, 0, 8, 0.0018, None)
    assert "$0.0018" in describe_live(live)
    night = Night(WHEN, "r", 4, 4, 4, cost=0.0001)
    assert "$0.00010, $0.000025 an accepted image" in describe_night(night, [], [], None, "")


def test_a_report_says_what_little_a_run_cost(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a")))
    page = run.report(committed=1, total=Receipt(breakdown=Usage.of(gpu=1)), gpu_hour=3.6)
    assert page.figures["cost"] == "$0.0010 $0.0010 an accepted image"


def test_a_run_that_ends_at_a_small_limit_says_both() -> None:
    stop = StopRequest()
    check_cost(SUMMARY, RunLimits(max_cost=0.0015), stop)
    assert stop.words == "it has cost $0.0018, and limits.max_cost is $0.0015"
