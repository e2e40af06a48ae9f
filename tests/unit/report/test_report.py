"""What the report shows of a run, and how it bounds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mira_batch.core.errors import RunConflict
from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.core.types import (
    ErrorKind,
    Failure,
)
from mira_batch.core.usage import Usage
from mira_batch.imaging import Fidelity
from mira_batch.report.choice import choose
from mira_batch.report.totals import Kind
from mira_batch.report.write import write_report
from mira_batch.storage.run.layout import result_key
from tests.unit.report.parse import Shown, colours, labels
from tests.unit.report.runs import BLUE, GREEN, RED, Run, row, unopened


def chart(page: Shown, name: str) -> dict[str, str]:
    """Bins and counts of a chart, as they are read without scripts."""
    (section,) = [e for e in page.root.find("section") if e.attributes.get("id") == f"chart-{name}"]
    bars = section.find("button")
    return {bar.find("span")[0].text: bar.attributes["data-count"] or "" for bar in bars}


def test_a_card_shows_every_step_from_the_original_to_the_result(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("one", run.image("a"), (GREEN, BLUE)))
    page = run.report()
    (card,) = page.cards
    assert labels(card) == ["Before", "Step 1", "Step 2 · Result"]
    assert colours(card) == ["red", "green", "blue"]
    assert [caption.text for caption in card.find("p", "caption")] == ["edit 1", "edit 2"]
    assert [image.attributes["alt"] for image in card.find("img")] == [
        "Before", "Step 1: edit 1", "Step 2 · Result: edit 2",
    ]  # fmt: skip
    assert "thought 2" in card.text and "do one" in card.text and "policy stop" in card.text
    assert "policy/1" in page.root.find("header")[0].text


def test_choice_is_spread_evenly_with_failed_records_first() -> None:
    kinds = [Kind(True, "step_timeout")]
    failed = np.full(100, -1)
    failed[[3, 50, 51, 52, 99]] = 0
    assert choose(failed, kinds, 6) == [50, 52, 12, 36, 63, 87]
    assert choose(failed, kinds, 6) == choose(failed.copy(), kinds, 6)
    assert choose(np.full(4, -1), [], 48) == [0, 1, 2, 3]
    assert len(choose(np.zeros(100), kinds, 48)) == 16, "failed ones fill a third at most"
    assert choose(np.zeros(0), [], 48) == [] and choose(failed, kinds, 0) == []


def test_every_kind_of_failure_and_early_end_is_among_the_chosen() -> None:
    kinds = [Kind(True, "editor_failed"), Kind(True, "judge_failed"), Kind(False, "max_steps")]
    kinds += [Kind(True, "step_timeout"), Kind(False, "no_progress")]
    outcomes = np.full(10_000, -1)
    outcomes[1000:9000] = 0  # thousands of one kind hide no other
    outcomes[[5, 9500]] = 1
    outcomes[9990] = 3
    outcomes[:900:2] = 2
    outcomes[9100] = 4
    chosen = choose(outcomes, kinds, 48)
    shown = [int(outcomes[k]) for k in chosen]
    assert (len(chosen), len(set(chosen))) == (48, 48)
    assert {k: shown.count(k) for k in range(5)} == {0: 13, 1: 2, 2: 15, 3: 1, 4: 1}
    assert set(shown[:16]) == {0, 1, 3} and set(shown[16:32]) == {2, 4} and set(shown[32:]) == {-1}
    few = [int(outcomes[k]) for k in choose(outcomes, kinds, 6)]
    assert few[:2] in ([0, 1], [1, 0]) and sorted(few[2:4]) == [2, 4], "of too many kinds the most frequent"


@pytest.mark.parametrize("most", [1, 12])
def test_the_number_of_cards_is_bounded_and_each_is_the_record_chosen(tmp_path: Path, most: int) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    names: list[str] = []
    failed: list[int] = []
    for shard in range(30):
        rows = []
        for k in range(shard % 4 + 1):
            bad = k == 2
            names.append(f"s{shard}-{k}")
            failed.append(0 if bad else -1)
            rows.append(
                row(names[-1], source, failure=Failure(ErrorKind.step_timeout, "slow") if bad else None)
            )
        run.commit(*rows)
    page = run.report(most)
    assert page.names == [names[k] for k in choose(np.array(failed), [Kind(True, "step_timeout")], most)]
    assert len(page.cards) == most and f"{most} of {len(names)} records are shown" in page.root.text
    assert page.figures["failed"] == str(failed.count(0))


def test_rows_are_found_in_later_row_groups(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(*(row(f"r{k}", source) for k in range(150)))
    assert pq.ParquetFile(f"{run.store.uri}/{result_key(0)}").num_row_groups == 3
    assert run.report(most=3).names == ["r25", "r75", "r125"]


def test_a_resumed_run_has_the_figures_of_the_whole(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(row("a", source), row("b", source, failure=Failure(ErrorKind.judge_failed, "no")))
    run.commit(row("c", source, (GREEN, BLUE, RED)))
    once = run.report(total=Receipt(tally=Tally(3, 2, 5)), committed=3, wall=6.0)
    resumed = run.report(total=Receipt(tally=Tally(1, 1, 3)), committed=3, already=2, wall=2.0)
    idle = run.report(committed=3, already=3, wall=0.1)
    for page in (once, resumed, idle):
        assert page.names == once.names == ["b", "a", "c"]
        assert page.figures["records"] == "3 of 100"
        assert [page.figures[name] for name in ("ok", "failed", "edits", "edits per record")] == [
            "2",
            "1",
            "5",
            "1.7",
        ]
        assert chart(page, "stops") == {"policy stop": "2"} and chart(page, "errors") == {"judge failed": "1"}
        assert chart(page, "status") == {"ok": "2", "failed": "1"} and chart(page, "steps") == {
            "1": "2",
            "2": "0",
            "3": "1",
        }
        times = [li.text for li in page.root.find("ul", "legend")[0].find("li")]
        assert times == ["policy10 %", "editor20 %", "waiting30 %", "io40 %"]
    assert [p.figures["images per minute"] for p in (once, resumed)] == ["30", "30"]
    assert idle.figures == resumed.figures, "a call that did nothing leaves the page of the one that did"
    assert once.figures["wall time"] == "6.0 s" and resumed.figures["last call"] == "2.0 s"


def test_the_page_says_what_an_accepted_image_cost(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(
        row("a", source), row("b", source), row("c", source, failure=Failure(ErrorKind.judge_failed, "no"))
    )
    assert "cost" not in run.report(committed=3).figures
    page = run.report(committed=3, total=Receipt(breakdown=Usage.of(gpu=7200)), gpu_hour=1.5)
    assert page.figures["cost"] == "$3.00 $1.5000 an accepted image"


def test_failed_records_show_their_message(tmp_path: Path) -> None:
    run = Run(tmp_path)
    failure = Failure(ErrorKind.editor_failed, "RuntimeError: it broke")
    run.commit(row("broken", run.image("a"), (GREEN,), failure), unopened("gone", "/no: no such file"))
    broken, gone = run.report().cards
    assert labels(broken) == ["Before", "Step 1 · Best so far"] and colours(broken) == ["red", "green"]
    assert broken.find("p", "message")[0].text == "editor failedRuntimeError: it broke"
    assert gone.find("p", "message")[0].text == "image unreadable/no: no such file"
    assert not gone.find("img") and "could not be opened" in gone.text


def test_unfinished_records_are_shown_and_counted_by_themselves(tmp_path: Path) -> None:
    """Also those of release 0.1, whose rows say ok."""
    run = Run(tmp_path)
    source = run.image("a")
    early = row("early", source) | {"status": "unfinished", "stop_reason": "no_progress"}
    old = row("old", source) | {"status": "ok", "stop_reason": "max_steps"}
    run.commit(
        row("good", source), early, old, row("bad", source, failure=Failure(ErrorKind.judge_failed, ""))
    )
    page = run.report(committed=4)
    assert [page.figures[name] for name in ("ok", "unfinished", "failed")] == ["1", "2", "1"]
    assert page.names == ["bad", "early", "old", "good"]
    badges = [card.find("span", "badge")[0].text for card in page.cards]
    assert badges == ["failed", "unfinished", "unfinished", "ok"]
    assert labels(page.cards[1]) == ["Before", "Step 1 · Best so far"]
    assert "ended by no progress" in page.cards[1].text and "ended by max steps" in page.cards[2].text


def test_rejected_rows_are_listed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a")))
    run.reject(
        [
            {"where": f"m.csv:{k}", "record_id": None, "field": "image", "reason": "is empty"}
            for k in range(70)
        ]
    )
    page = run.report(rejected=70)
    rows = page.root.find("tbody")[0].find("tr")
    assert len(rows) == 50 and page.figures["rejected rows"] == "70"
    assert [cell.text for cell in rows[0].find("td")] == ["m.csv:0", "–", "image", "is empty"]


def test_a_run_without_results_has_a_report(tmp_path: Path) -> None:
    page = Run(tmp_path).report()
    assert page.cards == [] and "No results yet" in page.root.text
    assert page.figures["records"] == "0 of 100" and page.figures["edits per record"] == "–"


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(RunConflict, match="holds no run"):
        write_report(run.config, replace(RunSummary("", "r"), run=str(tmp_path / "images")))


def test_facts_of_fidelity_are_charts(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    facts = [Fidelity(shift_x=3, shift_y=4, delta_e=float(k), changed_share=0.25) for k in range(5)]
    rows = [row(f"r{k}", source) | {"fidelity": found.dump()} for k, found in enumerate(facts)]
    run.commit(*rows, row("unmeasured", source), unopened("failed"))
    shown = run.report()
    assert chart(shown, "shift") == {"4": "5"}
    assert chart(shown, "delta_e") == {"0": "1", "0.5": "0", "1": "1", "2": "1", "3": "2"}
    assert chart(shown, "changed_share") == {"25": "5"}
    measured = {record["id"]: record.get("delta_e") for record in shown.data["records"]}
    assert measured == {f"r{k}": k for k in range(5)} | {"unmeasured": None, "failed": None}


def test_without_such_facts_nothing_is_said_of_them(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("old", run.image("a")))
    assert "of the rest" not in run.report().root.text.lower()
