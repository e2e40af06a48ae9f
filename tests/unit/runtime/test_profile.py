"""Where the time of a run went: seconds by worker, spans, and what it cost."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mira_batch import load_config, run
from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.core.usage import Usage
from mira_batch.report.progress import summary_table
from mira_batch.report.time_breakdown import breakdown_table
from mira_batch.runtime import trace
from mira_batch.runtime.ledger import FOOTER
from mira_batch.runtime.trace import Profile, Trace
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import read_status

SIMULATED = {
    "policy": {"type": "simulated", "service": {"seconds": 0.005}},
    "editor": {"type": "simulated", "service": {"seconds": 0.02}, "max_batch": 4},
    "judge": {"model": {"type": "simulated"}, "attempts": 1},
}


def profiled(tmp_path: Path, records: int = 12, **more: Any) -> tuple[Any, RunSummary, dict[str, Any]]:
    manifest = make_catalogue(tmp_path / "catalogue", records)
    config = load_config(settings(manifest, tmp_path / "out", **(SIMULATED | more)))
    summary = run(config, profile=True)
    return config, summary, json.loads(Path(summary.run, "profile.json").read_text())


def spans(document: dict[str, Any], category: str) -> list[dict[str, Any]]:
    return [e for e in document["traceEvents"] if e["ph"] == "X" and e["cat"] == category]


def printed(renderable: Any) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(renderable)
    console.file.close()
    return console.export_text()


def test_a_profile_holds_every_call_and_what_every_record_did(tmp_path: Path) -> None:
    _, summary, document = profiled(tmp_path)
    model = spans(document, "model")
    edits = [span for span in model if span["name"] == "editor"]
    assert sum(span["args"]["batch"] for span in edits) == summary.steps
    assert {span["name"] for span in model} == {"load", "policy", "editor", "judge"}
    by_record: dict[str, list[str]] = defaultdict(list)
    for span in sorted(spans(document, "record"), key=lambda span: span["ts"]):
        by_record[span["args"]["record"]].append(span["name"])
    assert len(by_record) == 12
    for doings in by_record.values():
        assert doings[:2] == ["reading", "policy"] and doings[-1] == "writing"
        stopped = doings[-2] == "policy"
        assert doings.count("editor") == doings.count("logging") == doings.count("policy") - stopped
    assert len(spans(document, "store")) == summary.shards
    assert [span["name"] for span in spans(document, "driver")] == ["open", "plan", "start", "work", "fold"]
    assert document["otherData"] == {"left_out": 0}


def test_nothing_in_a_lane_overlaps_and_every_lane_has_a_name(tmp_path: Path) -> None:
    _, _, document = profiled(tmp_path, records=24)
    names = {(e["pid"], e["tid"]) for e in document["traceEvents"] if e["name"] == "thread_name"}
    lanes: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in (e for e in document["traceEvents"] if e["ph"] == "X"):
        lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert set(lanes) == names and len(lanes) > 10
    for moments in lanes.values():
        moments.sort()
        for (_, end), (begin, _) in zip(moments, moments[1:], strict=False):
            assert begin >= end - 2, "rounded to a microsecond each"


def test_seconds_add_up_and_last_in_the_receipts(tmp_path: Path) -> None:
    config, summary, document = profiled(tmp_path)
    (worker,) = summary.workers
    spent = summary.workers[worker]
    for name in ("policy", "editor", "judge"):
        calls = [span["dur"] for span in spans(document, "model") if span["name"] == name]
        assert spent[name] == pytest.approx(sum(calls) / 1e6, abs=1e-5 * len(calls))
        assert spent[f"{name}_waiting"] >= 0
    inside = [s["dur"] for s in spans(document, "record") if s["name"] in ("reading", "logging", "writing")]
    assert 0 < spent["io"] <= (sum(inside) + sum(s["dur"] for s in spans(document, "store"))) / 1e6 + 0.01
    assert spent["worker"] >= spent["load"] + spent["editor"] > spent["load"] > 0
    assert spent["retried"] == spent["gpu"] == 0
    assert read_status(config).total.breakdown == summary.total.breakdown == spent, (
        "also from the result files alone"
    )
    for path in Path(summary.run, "results").iterdir():
        assert (
            "spans" not in json.loads(pq.read_metadata(path).metadata[FOOTER])
            or not json.loads(pq.read_metadata(path).metadata[FOOTER])["spans"]
        )


def test_without_profile_nothing_is_collected(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 3)
    summary = run(load_config(settings(manifest, tmp_path / "out", **SIMULATED)))
    assert not Path(summary.run, "profile.json").exists()
    assert summary.total.breakdown["editor"] > 0


def test_calls_that_come_to_nothing_are_told_apart(tmp_path: Path) -> None:
    faults = [
        {"records": "*", "does": "hang", "hang_seconds": 2.0, "times": 1},  # so that more than two wait
        {"records": "*", "does": "out_of_memory", "above_batch": 2},
    ]
    editor = {"type": "simulated", "service": {"seconds": 0.02}, "max_batch": 8, "faults": faults}
    _, summary, document = profiled(tmp_path, editor=editor)
    assert summary.failed == 0 and summary.total.breakdown["retried"] > 0
    edits = [span["args"]["batch"] for span in spans(document, "model") if span["name"] == "editor"]
    assert 0 in edits and sum(edits) == summary.steps


def test_gpu_hours_and_endpoints_make_the_cost_of_an_accepted_image() -> None:
    total = Receipt(
        tally=Tally(records=10, ok=8, usage=Usage(cost=4.0)), breakdown=Usage.of(worker=500, gpu=1000)
    )
    summary = RunSummary("out/r", "r", planned=10, committed=10, total=total, gpu_hour=3.6)
    assert summary.gpu_cost == pytest.approx(1.0)
    assert summary.cost_per_accepted == pytest.approx(5 / 8)
    text = printed(summary_table(summary))
    assert "$5.00  (GPUs $1.00, endpoints $4.00; $0.6250 an accepted image)" in text
    nothing_yet = replace(summary, total=replace(total, tally=replace(total.tally, ok=0)))
    assert nothing_yet.cost_per_accepted is None
    assert "accepted" not in printed(summary_table(nothing_yet))


def test_the_summary_tells_unfinished_records_from_good_ones() -> None:
    stops = {"policy_stop": 6, "max_steps": 2, "time_limit": 1}
    tally = Tally(records=10, ok=6, unfinished=3, stops=stops, errors={"judge_failed": 1}, steps=20)
    text = printed(summary_table(RunSummary("r", "r", planned=10, committed=10, total=Receipt(tally=tally))))
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    found = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert found["ok"] == "6  policy_stop 6"
    assert found["unfinished"] == "3  max_steps 2, time_limit 1"
    assert found["failed"] == "1  judge_failed 1"


def test_workers_are_charged_the_gpus_they_hold(tmp_path: Path) -> None:
    _, summary, _ = profiled(tmp_path, records=3, workers={"gpus": 0.5}, prices={"gpu_hour": 2})
    assert summary.total.breakdown["gpu"] == pytest.approx(summary.total.breakdown["worker"] / 2)
    assert summary.gpu_cost == pytest.approx(summary.total.breakdown["gpu"] / 1800)


def test_the_price_is_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    config, summary, _ = profiled(tmp_path, records=3)
    again = run(config.model_copy(update={"prices": config.prices.model_copy(update={"gpu_hour": 9.0})}))
    assert again.run == summary.run and again.already == 3


def test_the_table_has_a_row_for_each_worker_their_sum_and_a_thousand_records() -> None:
    one = Usage.of(worker=10, load=1, policy=2, editor=8, policy_waiting=4, editor_waiting=40, io=3)
    two = Usage.of(worker=10, load=1, policy=1, editor=6)
    summary = RunSummary("out/r", "r", planned=50, committed=50, already=10, workers={"a-1": one, "b-2": two})
    text = printed(breakdown_table(summary))
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert list(rows) == ["a-1", "b-2", "this call", "1,000 records"]
    assert "8.0 (80%)" in rows["a-1"] and "14.0 (70%)" in rows["this call"]
    assert "350.0 (70%)" in rows["1,000 records"], "14 s for 40 records"
    assert "judge" not in text and "retried" not in text, "empty columns are left out"
    many = {f"w-{i:03d}": one for i in range(100)}
    assert "and 76 more" in printed(breakdown_table(replace(summary, workers=many)))


def test_a_long_run_keeps_the_first_spans_and_says_how_many_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MOST_SPANS", 5)
    profile, worker = Profile(), Trace()
    for number in range(4):
        worker.call("editor-0", number, number + 0.5, 4)
    profile.add(Receipt(0, worker="a", spans=worker.drain()))
    for number in range(4):
        worker.call("editor-0", number, number + 0.5, 4)
    profile.add(Receipt(1, worker="a", spans=worker.drain()))
    store = open_store(str(tmp_path), load_config(settings("m.jsonl", tmp_path)).storage)
    profile.write(store)
    document = json.loads(store.get("profile.json") or b"")
    assert len(spans(document, "model")) == 5 and document["otherData"] == {"left_out": 3}


def test_spans_may_be_added_while_they_are_drained() -> None:
    worker, found = Trace(), []
    done = threading.Event()

    def calls() -> None:
        for number in range(20_000):
            worker.call("editor-0", number, number + 1, 1)
        done.set()

    thread = threading.Thread(target=calls)
    thread.start()
    while not done.is_set():
        found += worker.drain()
    thread.join()
    found += worker.drain()
    assert len(found) == 20_000
