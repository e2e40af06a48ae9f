"""The benchmark's own arithmetic, and its peers in one process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import report
from benchmarks.__main__ import ALONE
from benchmarks.child import in_child
from benchmarks.efficiency import timed_models
from benchmarks.figure import at_least, in_table, reported
from benchmarks.models import NotingJudge
from benchmarks.peers.loop import Lockstep, OneAtATime, Stage, read_image, write_image
from benchmarks.resume import plan_nearly_done
from benchmarks.store import covered, kind_of
from benchmarks.timeline import Call, Timeline, read_calls, read_timeline
from benchmarks.workload import photographs
from mira_batch.config.models.simulated import StepCounts
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import JudgeRequest
from mira_batch.models.simulated import step_count

NAMES = [f"rec-{i:06d}" for i in range(6)]


def a_timeline() -> Timeline:
    """Two workers, batch 2, a second a call; the second of them waits 1 s for its policy and 0.5 s for io."""
    first = [Call(1, float(t), t + 1.0, 2) for t in range(1, 11)]
    second = [Call(2, t, t + 1.0, 2) for t in (1.0, 2.0, 4.0, 5.5, 6.5, 7.5, 8.5, 9.5)]
    policy = [Call(1, 0.0, 1.0, 8, fresh=4), Call(2, 2.9, 4.0, 8, fresh=0), Call(1, 8.0, 9.6, 1, fresh=1)]
    edits = tuple(sorted((*first, *second), key=lambda call: call.end))
    return Timeline(2, 2, 1.0, edits, tuple(policy), ((10.0, 5), (12.0, 10)), started=0.0, ended=13.0)


def test_where_the_editors_time_went() -> None:
    line = a_timeline()
    shares = line.shares()
    total = 2 * 13.0
    assert shares.busy == pytest.approx(18 / total) and shares.idle == pytest.approx(1 - 18 / total)
    assert shares.start_up == pytest.approx(2 / total)
    assert shares.policy_wait == pytest.approx(1 / total)
    assert shares.io == pytest.approx(0.5 / total)
    assert shares.tail == pytest.approx((1 + 1.5) / total)
    assert shares.ending == pytest.approx(2 / total)
    assert line.policy_idle() == pytest.approx(1 - 3.7 / total)


def test_the_steady_state_ends_with_the_last_record_that_is_begun_and_counts_whole_calls() -> None:
    steady = a_timeline().steady()
    assert (steady.begin, steady.end) == (2.0, 8.0)
    # Worker 1 from 2.0 to 8.0 made 6 calls; worker 2 from 2.0 to 7.5, of which it was idle for 1.5 s, made 4.
    assert steady.edits == 20 and steady.bare == 10 and steady.wall == pytest.approx(11.5)
    assert steady.efficiency == pytest.approx(10 / 11.5)
    assert steady.edits_per_second == pytest.approx(12 / 6 + 8 / 5.5)
    assert steady.io == pytest.approx(0.5 / 11.5)


def a_row(image: Path, name: str) -> dict[str, Any]:
    return read_image({"record_id": name, "image": str(image), "instruction": "make it nicer"})


def test_the_peers_make_the_same_edits(tmp_path: Path) -> None:
    image = photographs(tmp_path / "images", 32)[0]
    rows = [a_row(image, name) for name in NAMES]
    batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    found: dict[str, list[dict[str, Any]]] = {}
    notes = tmp_path / "notes"
    options = {role: model["options"] for role, model in timed_models(notes, 0.0).items()}
    alone = OneAtATime(options)
    found["one at a time"] = [alone(row) for row in rows]
    for name, stages in (
        ("lockstep", [Lockstep(options)]),
        ("unrolled", [Stage(options, str(tmp_path), 2)] * 8),
    ):
        columns: dict[str, Any] = batch
        for stage in stages:
            columns = stage(columns)
        found[name] = [{key: columns[key][i] for key in columns} for i in range(len(rows))]
    results = {name: [write_image(row) for row in those] for name, those in found.items()}
    assert results["one at a time"] == results["lockstep"] == results["unrolled"]
    made = [len(row["edits"].split("\n")) for row in results["lockstep"]]
    assert made == [step_count(name, StepCounts()) for name in NAMES]
    assert sum(call.size for call in read_calls(notes)["editor"]) == 3 * sum(made)


def test_a_judges_calls_are_its_timeline(tmp_path: Path) -> None:
    """It begins each record with the very call that ends it, so that 90 % bound the steady state."""
    judge = NotingJudge(str(tmp_path), {"type": "simulated", "max_batch": 2})
    frame = frame_of(Image.new("RGB", (2, 2)))
    for _ in range(20):
        judge.score([JudgeRequest("r", "do", frame, frame, "do")] * 2)
    run = {"records": 40, "commits": [(9.0, 40)], "started": 0.0, "ended": 10.0, "cpu_samples": []}
    line = read_timeline(tmp_path, run, 1, 2, 0.0, role="judge")
    steady = line.steady()
    assert (line.made, steady.edits, steady.mean_batch) == (40, 34, 2.0)
    assert steady.end == pytest.approx(line.edits[17].end) and steady.begin == line.edits[0].end


def test_requests_are_told_apart_and_time_is_counted_once() -> None:
    kinds = {
        "/catalogue/out/r/state/00001/abc/0.step": "step log",
        "/catalogue?list-type=2&prefix=out/r/results": "commit",
        "/catalogue/out/r/plan/plan-1.parquet": "shard read",
        "/catalogue/catalogue/images/a.jpg": "image fetch",
        "/catalogue/out/r/lease.json": "lease and notes of the run",
    }
    assert {target: kind_of(target) for target in kinds} == kinds
    assert covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (7.0, 6.5)]) == 4.0


def test_results_and_document_hold_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "benchmarks.md")
    report.DOCUMENT.write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    figures = [
        at_least(3, "speed", 4.0, "", "A race."),
        in_table(reported("idle_1x1", 0.25, "", "Noted."), "Where it went", "1 x 1 s", "idle"),
    ]
    machine = report.machine() | {"load_average_after": 0.0, "quick": True, "seconds": 1}
    report.write_results(figures, machine)
    report.write_document(figures, machine, "bench")
    kept = json.loads(report.RESULTS.read_text())["figures"]
    assert kept["speed"] == {
        "value": 4.0, "unit": "", "op": ">=", "target": 3, "met": True, "method": "A race."
    }  # fmt: skip
    assert kept["idle_1x1"]["value"] == 0.25
    text = report.DOCUMENT.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| `speed` | 4 | ≥ 3 | yes | A race. |" in text
    assert "**Where it went**\n\n| | idle |\n|---|--:|\n| 1 x 1 s | 0.25 |" in text
    assert len(report.tables(figures, machine)) == 2


def test_every_topic_with_a_table_of_its_own_has_its_place_and_its_command() -> None:
    """A table without a place would be appended to the page's end, out of sight."""
    page = report.DOCUMENT.read_text()
    for name in ("bench", *ALONE):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1, name
    commands = (report.DOCUMENT.parents[1] / "Makefile").read_text()
    (listed,) = re.findall(r"for topic in (.+); do", commands)
    more = set(listed.split())
    assert more == ALONE.keys() - {"batches", "scale", "acceptance"}


def test_a_run_that_is_nearly_done_goes_on(tmp_path: Path) -> None:
    """Its plan and commits are written by the benchmark, as a run writes them."""
    settings = plan_nearly_done(tmp_path, 2_000) | {"backend": "inline"}
    found = in_child("resume", config=settings)
    assert found["planned"] == 2_000 and 1_900 < found["already"] < 2_000
    assert any((tmp_path / "notes").iterdir()), "it has edited"
