"""The guide to cost: its commands, its arithmetic by the plan itself, its figures by the benchmarks' page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.blocks import blocks, commands
from tests.docs.guides import Terminal, read_figure, read_words, write_files
from tests.support import ROOT
from tests.support.runs.catalogue import make_catalogue

GUIDE = "docs/cost.md"
MILLION, ROWS = 1_000_000, 1_000
"""What the guide is about, and how many stand in for it: plans multiply."""


@pytest.fixture(scope="module")
def text() -> str:
    return read_words(GUIDE)


def make_rows(folder: Path, records: int) -> None:
    """A catalogue of images of one shape, so that any of them may share a call."""
    manifest = make_catalogue(folder / "catalogue", 1)
    (row,) = (json.loads(line) for line in manifest.read_text().splitlines())
    rows = (json.dumps(row | {"record_id": f"sku-{i}"}) + "\n" for i in range(records))
    manifest.write_text("".join(rows))


def estimate(terminal: Terminal, folder: Path, command: str) -> dict[str, float | None]:
    """What a plan expects, of a million records."""
    found = json.loads(terminal(f"{command} --json", folder))
    assert found["planned"] == ROWS
    spans = {name: span for name, span in found["estimate"].items() if name not in ("runs", "workers")}
    assert all(span is None or span["low"] == span["high"] for span in spans.values())
    return {name: span and span["low"] * MILLION / ROWS for name, span in spans.items()}


def test_the_plans_of_the_guide(tmp_path: Path, text: str, terminal: Terminal) -> None:
    make_rows(tmp_path, ROWS)
    write_files(GUIDE, tmp_path, backend="ray")  # which plans of few rows don't start
    assumed, served = (line for line in commands(GUIDE) if line.startswith("mira-batch plan"))
    table = re.findall(
        r"^\| .+ \| ([\d.]+) \| (\d) \| ([\d,.]+) \| \$([\d,.]+) \| ([\d,.]+) \|$", *whole_lines()
    )
    assert len(table) == 5
    base = estimate(terminal, tmp_path, assumed)
    assert base["edits"] == pytest.approx(2_400_000)
    for seconds, gpus, *shown in table:
        # What this plan says of the assumption follows from the first one's figures, as the guide has it.
        factor = float(seconds) / 5
        hours, dollars = base["worker_hours"], base["dollars"]
        assert hours is not None and dollars is not None
        figures = (hours * factor, dollars * factor * int(gpus), hours * factor / 8)
        assert [f"{figure:,.2f}" for figure in figures] == shown, seconds
    again = assumed.replace("edit_seconds=5", "edit_seconds=4.21 --set workers.gpus=2")
    found = estimate(terminal, tmp_path, again)
    assert [f"{found[name]:,.2f}" for name in ("worker_hours", "dollars", "hours")] == list(table[3][2:])
    endpoint = estimate(terminal, tmp_path, served)
    assert f"${endpoint['dollars']:,.2f}" in text and endpoint["hours"] is None
    assert "take 100 hours for 2,400,000 edits" in text and 2_400_000 / (8 * 50) / 60 == 100
    assert "80 s of one GPU, $0.06 at $2.50" in text and f"{16 * 5 * 2.5 / 3600:.2f}" == "0.06"


def whole_lines() -> tuple[str, int]:
    return (ROOT / GUIDE).read_text(), re.MULTILINE


def test_the_figures_are_read_off_a_trial(tmp_path: Path, terminal: Terminal) -> None:
    make_rows(tmp_path, 12)
    write_files(GUIDE, tmp_path)
    lines = [line for line in commands(GUIDE) if not line.startswith("mira-batch plan")]
    assert len(lines) == 3
    full = run_trial(terminal, tmp_path, lines)
    found = json.loads((tmp_path / "status.json").read_text())
    spent, edits = found["spent"], found["steps"]
    assert full["edits of a record"] == pytest.approx(edits / 12, abs=0.01)
    assert full["edit_seconds"] == pytest.approx((spent["worker"] - spent["load"]) / edits, abs=0.001)
    assert full["editor busy"] == pytest.approx(spent["editor"] / spent["worker"], abs=0.01)
    by_call = full["editor busy"] * full["edit_seconds"] * full["images in a call"]
    assert 0.09 < by_call < 1, "the seconds of a call are those of the config, on a machine that may be busy"
    alone = [f"{lines[0]} {ALONE}", lines[1].replace(" --json", f" {ALONE} --json"), lines[2]]
    one = run_trial(terminal, tmp_path, alone)
    assert one["images in a call"] == 1 < full["images in a call"] <= 4
    assert one["edit_seconds"] > full["edit_seconds"]


ALONE = "--set workers.records_in_flight=1 --set output.uri=alone"


def run_trial(terminal: Terminal, folder: Path, lines: list[str]) -> dict[str, float]:
    """What figures.py prints."""
    *_, printed = [terminal(line, folder) for line in lines]
    return {name.strip(): float(value) for name, value in re.findall(r"^(.+?) +([\d.]+)$", printed, re.M)}


FIGURES = {
    "plan_1m_seconds": ("19 s", 1, 0),
    "plan_1m_driver_mb": ("394 MB", 1, 0),
    "resume_99_percent_seconds": ("4 s to the first edit", 1, 0),
    "startup_seconds": ("4.7 s", 1, 1),
    "store_requests_per_record": ("8.0 for a record", 1, 1),
    "scale_first_seconds_per_million": ("330 s", 10, 0),
    "scale_second_seconds_per_million": ("333 s", 10, 0),
    "scale_second_driver_mb": ("497 MB", 1, 0),
    "scale_second_worker_mb": ("348 MB", 1, 0),
    "scale_fold_seconds_per_million": ("170 s", 10, 0),
    "plan_1m_after_1_driver_mb": ("452 MB", 1, 0),
    "plan_1m_after_30_driver_mb": ("465 MB", 1, 0),
    "fold_1m_seconds": ("9 s", 1, 0),
    "efficiency_steady": ("99.6 %", 100, 1),
    "efficiency_end_to_end": ("89 %", 100, 0),
}
"""By figure of the benchmarks' page: how the guide puts it, times what, and with how many decimals."""


@pytest.mark.parametrize("name", FIGURES)
def test_measured_figures_are_those_of_the_benchmarks(name: str, text: str) -> None:
    shown, factor, decimals = FIGURES[name]
    assert shown.startswith(f"{read_figure(name) * factor:.{decimals}f}"), f"{GUIDE}: {name}"
    assert shown in text and f"`{name}`" in text


def test_the_size_of_results_is_that_of_the_benchmarks(text: str) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    (kilobytes,) = re.findall(r"^\| commit \| [\d.]+ \| ([\d,]+) kB", page, re.MULTILINE)
    megabytes = float(kilobytes.replace(",", "")) / 1000
    assert f"{megabytes:.1f} MB a record: {megabytes:.1f} TB" in text
    assert f"some {megabytes * 4 * 32 // 10 * 10:.0f} MB for four shards of 32" in text


def test_what_a_hundred_million_take_follows_from_ten(text: str) -> None:
    rows = re.findall(r"^\| .+ \| (.+) \| (.+) \|$", *whole_lines())
    larger = {
        f"{ten:,.0f} s": f"{ten * 10 / 60:.0f} minutes"
        for ten in (
            read_figure(f"scale_{name}_seconds_per_million") * 10 for name in ("first", "second", "fold")
        )
    }
    assert len(larger) == 3
    for ten, hundred in larger.items():
        assert any(left.startswith(f"{ten} (") and right == hundred for left, right in rows), ten
    hours = 10_000_000 * 2.4 * 5 / 3600
    shown = [f"{times * hours:,.0f} hours, ${times * hours * 2.5:,.0f}" for times in (1, 10)]
    assert tuple(shown) in rows


def test_every_setting_of_the_guide_exists() -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text()
    whole, _ = whole_lines()
    named = set(re.findall(r"`(?:workers|editor|policy|limits|prices|output|input|speed)\.(\w+)", whole))
    assert len(named) > 12
    for name in named:
        assert f"| `{name}` |" in reference, name
    assert [block.file_name for block in blocks(GUIDE) if block.language == "yaml"] == [
        "gpu.yaml",
        "rehearsal.yaml",
        "served.yaml",
    ]


@pytest.mark.parametrize("guide", [GUIDE, "docs/first-million.md"])
def test_every_metric_of_the_guides_is_exported(guide: str) -> None:
    exported = (ROOT / "mira_batch" / "runtime" / "backends" / "metrics.py").read_text()
    named = set(re.findall(r"ray_(mira_\w+)", (ROOT / guide).read_text()))
    assert named
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in exported, name
