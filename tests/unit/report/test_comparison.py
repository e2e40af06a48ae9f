"""The page of a comparison: where its marks lie, which records it shows, and where its links lead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.receipts import RunSummary
from mira_batch.evaluate.compare import Comparison, compare
from mira_batch.evaluate.gate import parse_gate
from mira_batch.evaluate.scores import Scores
from mira_batch.report.comparison import choose_records, write_comparison
from mira_batch.report.comparison_contents import Checked
from mira_batch.report.links import Reports, link_from, make_address
from mira_batch.report.plots import (
    lay_effort,
    lay_failures,
    lay_forest,
    lay_scatter,
    lay_splits,
    show_percent,
)
from mira_batch.report.write import Form, write_report
from tests.unit.report.evaluations import evaluate, score
from tests.unit.report.parse import Element, _Tree
from tests.unit.report.runs import BLUE, GREEN, HOSTILE, Run, row
from tests.unit.report.test_page import digest

STORAGE = StorageConfig()


def two(
    run: Run, a: dict[str, float | None], b: dict[str, float | None], **more: Any
) -> tuple[Scores, Scores]:
    """Two evaluations of one run, as if its results were of two; None is a judging that failed."""
    rows = [row(name, run.image(name)) | {"source_digest": f"{k:032d}"} for k, name in enumerate(a)]
    run.commit(*rows)
    found = []
    for name, scores in (("a", a), ("b", b)):
        judged = [
            score(r, error=("judge_failed", "no number"), **more)
            if (value := scores[r["record_id"]]) is None
            else score(r, value, {"naturalness": (10 * value, 0.0, 10.0)}, **more)
            for r in rows
        ]
        found.append(evaluate(run, name, *judged))
    return found[0], found[1]


@pytest.fixture
def both(tmp_path: Path) -> tuple[Scores, Scores]:
    a = {f"r{k}": 0.5 for k in range(8)} | {"bad": None}
    b = a | {"r0": 0.1, "r1": 0.25, "r7": 0.9}
    return two(Run(tmp_path), a, b)


def test_a_forest_plot_has_one_axis_for_all_scales(both: tuple[Scores, Scores]) -> None:
    found = compare(*both)
    gates = [(parse_gate("overall>=-0.05"), False), (parse_gate("naturalness>=-5"), True)]
    forest = lay_forest(found, {"overall": (0, 1), "naturalness": (0, 10)}, gates)
    overall, axis = forest.rows
    assert overall.x == pytest.approx(axis.x) and overall.low == pytest.approx(axis.low)
    assert overall.difference == "−0.031" and axis.difference == "−0.312"
    assert overall.low is not None and overall.x is not None and overall.high is not None
    assert 0 < overall.low < overall.x < overall.high < 100
    ticks = {label: x for x, label in forest.ticks}
    assert ticks["0"] == pytest.approx(forest.zero)
    share = (forest.zero - ticks["−20 %"]) / 20
    assert overall.x == pytest.approx(forest.zero - 3.125 * share)
    assert [mark.x for mark in overall.gates] == pytest.approx([forest.zero - 5 * share])
    assert [mark.x for mark in axis.gates] == pytest.approx([forest.zero - 50 * share])
    assert not overall.gates[0].passed and axis.gates[0].passed
    assert overall.kind == "open"


def test_only_what_is_surely_more_has_a_colour_and_an_axis_never_is_better(tmp_path: Path) -> None:
    a: dict[str, float | None] = {f"r{k}": 0.5 for k in range(8)}
    b: dict[str, float | None] = {f"r{k}": 0.75 + k / 100 for k in range(8)}
    better, worse = compare(*two(Run(tmp_path / "1"), a, b)), compare(*two(Run(tmp_path / "2"), b, a))
    kinds = [[line.kind for line in lay_forest(found, {}, []).rows] for found in (better, worse)]
    assert kinds == [["better", "other"], ["worse", "other"]]
    few = compare(*two(Run(tmp_path / "3"), {"r": 0.5}, {"r": 0.25}))
    (overall, _) = lay_forest(few, {}, []).rows
    assert (overall.kind, overall.interval, overall.low) == ("", "no interval", None)
    assert overall.x is not None and overall.x < lay_forest(few, {}, []).zero


def test_wins_failures_and_effort_are_those_of_the_comparison(both: tuple[Scores, Scores]) -> None:
    found = compare(*both)
    (overall, axis), groups = lay_splits(found)
    assert overall.counts == axis.counts == (1, 5, 2) and sum(overall.shares) == pytest.approx(100)
    assert (overall.kind, axis.kind, groups) == ("judged", "other", [])
    none, failed = lay_failures(found)
    assert (failed.a, failed.b, failed.share_a) == ("1 · 11.1 %", "1 · 11.1 %", pytest.approx(100 / 9))
    assert (none.a, none.share_b) == ("0 · 0.0 %", 0)
    quality, edits, seconds = lay_effort(found)
    assert (quality.share_a, quality.b) == (pytest.approx(50), "0.469")
    assert (edits.a, edits.share_b, seconds.b) == ("1.00", 100, "2.00 s")


def test_records_of_the_same_scores_are_one_mark() -> None:
    scores = [(f"same{k}", 0.5, 0.5) for k in range(4)] + [("up", 0.1, 0.904), ("down", 0.9, 0.2)]
    down, same, up = lay_scatter(scores)
    assert (down.names, down.kind, down.radius) == (["down"], "worse", 0.5)
    assert (same.records, same.names, same.radius) == (4, ["same0", "same1", "same2"], 1.0)
    assert (up.x, up.y, up.kind) == (0.1, 0.9, "better")
    assert lay_scatter([]) == []


def test_the_records_shown_are_those_that_changed_most() -> None:
    a: dict[str, float | None] = {f"r{k:02d}": 0.5 for k in range(30)}
    b: dict[str, float | None] = {name: 0.5 + (k - 14) / 50 for k, name in enumerate(a)}
    worse, better = choose_records((name, 0.5, b[name] or 0.0) for name in a)
    assert worse == [f"r{k:02d}" for k in range(10)]
    assert better == [f"r{k}" for k in range(29, 19, -1)]
    assert choose_records([("same", 0.5, 0.5)]) == ([], [])


def write(run: Run, a: Scores, b: Scores, name: str = "c.html") -> tuple[str, Element, dict[str, Any]]:
    found = compare(a, b)
    gate = parse_gate("overall>=-0.05")
    checks = [Checked(gate, *gate.check(found))]
    page = write_comparison(str(run.folder / name), found, a, b, checks, STORAGE)
    html = Path(page).read_text(encoding="utf-8")
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == [tree.root], "every element is closed"
    data, chunks, _ = tree.root.find("script")
    found_data = json.loads(data.text) | {"chunks": json.loads(chunks.text)}
    data.children.clear()
    chunks.children.clear()
    return html, tree.root, found_data


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path: Path, both: tuple[Scores, Scores]) -> None:
    html, root, data = write(Run(tmp_path / "other"), *both)
    (policy,) = [m.attributes["content"] for m in root.find("meta") if "http-equiv" in m.attributes]
    *_, script = root.find("script")
    (style,) = root.find("style")
    assert policy == (
        f"default-src 'none'; script-src '{digest(script.text)}'; style-src '{digest(style.text)}'; "
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|@import|<link|url\(", html)
    styles = [e.attributes["style"] or "" for e in root.find() if "style" in e.attributes]
    assert styles and all(re.fullmatch(r"left:\d+\.\d+%", each) for each in styles)
    verdict = root.find("h1")[0].text
    assert verdict.startswith("No difference is shown (−0.031 overall)")
    assert "9 of both, 8 scored in both, from 8 originals" in root.text
    assert [record["id"] for record in data["records"]] == ["r0", "r1", "r7"] and data["worse"] == 2
    tables = root.find("table")
    assert len(tables) == 4 and all(table.find("tr") for table in tables), "a table behind each chart"
    pictures = [svg for svg in root.find("svg") if svg.attributes.get("role") == "img"]
    assert pictures and all(svg.attributes["aria-label"] for svg in pictures)


def test_hostile_words_stay_text(tmp_path: Path) -> None:
    def outline(folder: Path, text: str) -> tuple[list[Any], Any]:
        run = Run(folder)
        a: dict[str, float | None] = {f"{text}{k}": 0.5 for k in range(6)}
        rows = [row(name, run.image(f"i{k}"), words=text) for k, name in enumerate(a)]
        rows = [r | {"source_digest": f"{k:032d}"} for k, r in enumerate(rows)]
        run.commit(*rows)
        more = {"group": text, "reason": text, "protocol": text, "models": {"judge": text}}
        axes = {text: (1.0, 0.0, 3.0)}
        one = evaluate(run, "a", *(score(r, 0.5, axes, **more) for r in rows))
        other = evaluate(run, "b", *(score(r, k / 5, axes, **more) for k, r in enumerate(rows)))
        _, root, data = write(run, one, other)
        assert root.text.count(text) >= 6
        assert data["records"][0]["ask"] == text and data["records"][0]["said"] == [text, text]
        return [(e.tag, sorted(e.attributes)) for e in root.find()], data["worse"]

    assert outline(tmp_path / "hostile", HOSTILE) == outline(tmp_path / "plain", "harmless")


def test_a_page_needs_a_name_of_its_own(tmp_path: Path, both: tuple[Scores, Scores]) -> None:
    found = compare(*both)
    for place in (tmp_path / "page", tmp_path / "page.png"):
        with pytest.raises(ConfigError, match=r"give a file that ends in \.html"):
            write_comparison(str(place), found, *both, [], STORAGE)
    assert not (tmp_path / "page").exists()


def test_links_lead_to_what_a_report_shows_and_nowhere_else(tmp_path: Path) -> None:
    run = Run(tmp_path / "a folder")
    source = run.image("a")
    run.commit(*(row(name, source, (GREEN, BLUE)) for name in ("in & out", "left out", "third")))
    uri, reports = run.store.uri, Reports(STORAGE)
    assert reports.find(uri, "in & out") == "" and reports.find(None, "x") == ""
    write_report(run.config, RunSummary(uri, "r", planned=3, committed=3), Form(most=2, anew=True))
    reports = Reports(STORAGE)
    found = {name: reports.find(uri, name) for name in ("in & out", "left out", "third", "unknown")}
    assert sorted(found.values()).count("") == 2 and found["unknown"] == ""
    shown = next(place for place in found.values() if place)
    assert link_from(str(tmp_path / "pages" / "c.html"), shown).startswith(
        "../a%20folder/out/r/report.html#record="
    )
    assert make_address(shown).startswith("file:///") and " " not in make_address(shown)
    bucket = "s3://b/out/r/report.html#record=x"
    assert link_from("s3://b/pages/c.html", bucket) == "../out/r/report.html#record=x"
    assert link_from("s3://c/pages/c.html", bucket) == link_from(str(tmp_path / "c.html"), bucket) == ""
    assert make_address(bucket) == bucket


def test_shares_are_shown_as_percent() -> None:
    shown = [show_percent(share) for share in (0.0, 0.2, -0.025, 1e-9)]
    assert shown == ["0", "+20 %", "−2.5 %", "0"]


def test_a_comparison_without_a_common_score_has_a_page_too(tmp_path: Path) -> None:
    run = Run(tmp_path)
    a, b = two(run, {"x": 0.5, "y": None}, {"x": None, "y": 0.5})
    found = compare(a, b)
    assert isinstance(found, Comparison) and not found.scores
    place = write_comparison(str(tmp_path / "c.html"), found, a, b, [], STORAGE)
    text = Path(place).read_text(encoding="utf-8")
    assert "No record has a score in both" in text and 'id="scatter"' not in text
