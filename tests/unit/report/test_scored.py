"""Scores of evaluations in the report: which belong to a result, and what the charts of them count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.report.score_charts import find_bins
from mira_batch.report.write import Form, Report, write_report
from tests.unit.report.evaluations import evaluate, score
from tests.unit.report.parse import Shown, parse_page
from tests.unit.report.runs import BLUE, GREEN, HOSTILE, Run, row

BROKEN = Failure(ErrorKind.editor_failed, "it broke")


def write(run: Run, *evaluations: str, most: int | None = None) -> tuple[Report, Shown]:
    summary = RunSummary(run.store.uri, "r", planned=9, committed=9)
    found = write_report(run.config, summary, Form(most, anew=True, scores=evaluations))
    return found, parse_page(Path(found.page).read_text(encoding="utf-8"))


def bars(page: Shown, name: str) -> dict[str, str]:
    (section,) = [e for e in page.root.find("section") if e.attributes.get("id") == f"chart-{name}"]
    return {b.find("span")[0].text: b.attributes["data-count"] or "" for b in section.find("button")}


def verdicts(page: Shown) -> dict[str, list[dict[str, Any]]]:
    per = page.data["per"]
    return {
        record["id"]: page.chunks[f"strips-{place // per}"][place % per]["verdicts"]
        for place, record in enumerate(page.data["records"])
    }


def test_a_score_belongs_to_the_very_result_that_was_judged(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    rows = [row(name, source) for name in ("good", "other", "asked", "unjudged", "broken")]
    failed = row("failed", source, failure=BROKEN)
    run.commit(*rows, failed)
    scores = evaluate(
        run, "e",
        score(rows[0], 0.75, {"naturalness": (7.0, 0.0, 10.0)}, reason="well done", raw=["7 of 10"]),
        score(rows[1], 0.9, result_digest="0" * 32),
        score(rows[2], 0.9, instruction="something else"),
        score(rows[4], error=("judge_failed", "no number in the answer")),
        score(failed),
        score(rows[0] | {"record_id": "absent"}, 0.9),
    )  # fmt: skip
    found, page = write(run, scores.run)
    (join,) = found.joins
    assert (join.joined, join.other_pixels, join.asked_otherwise, join.absent) == (3, 1, 1, 1)
    assert join.describe() == [
        "1 about other pixels than this run's result",
        "1 about another instruction or original",
        "1 about records that this run has not",
    ]
    assert all(words in page.root.text for words in join.describe())
    assert bars(page, "judged") == {
        "judged": "1", "judge failed": "1", "not judged": "3", "nothing to judge": "1",
    }  # fmt: skip
    assert bars(page, "overall") == {"0.7": "1"} and bars(page, "axis1-naturalness") == {"7": "1"}
    said = verdicts(page)
    assert said["good"] == [
        {
            "title": "rules-judge/1", "state": "judged", "score": 0.75, "protocol": "rules-judge/1",
            "axes": [["naturalness", 7.0, 0.0, 10.0]], "reason": "well done", "raw": ["7 of 10"],
        }
    ]  # fmt: skip
    assert said["broken"][0]["message"] == "judge_failed: no number in the answer"
    assert all("score" not in said[name][0] for name in said if name != "good"), "a failure is no number"
    assert said["other"][0]["message"] == "another result of this record was"
    values = {record["id"]: record["scores"] for record in page.data["records"]}
    assert values["good"] == {"judged": "judged", "overall": 0.75, "axis1-naturalness": 7.0}
    assert values["other"] == {"judged": "not judged"}


def test_groups_have_means_with_intervals_the_worst_first(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rows = [row(f"r{k}", run.image(f"i{k}")) | {"source_digest": f"{k:032d}"} for k in range(9)]
    failed = row("failed", run.image("f"), failure=BROKEN)
    run.commit(*rows, failed)
    given = (0.2, 0.4, 0.6, 0.2, 0.4, 0.6, 1.0, 0.8, 1.0)
    groups = (*[HOSTILE] * 6, "b", "b", None)
    scores = evaluate(run, "e", *(
        score(r, s, group=g) for r, s, g in zip(rows, given, groups, strict=True)
    ), score(failed, group="b"))  # fmt: skip
    _, page = write(run, scores.run)
    assert [record["id"] for record in page.data["records"] if record["scores"].get("group") == "b"] == [
        "r6", "r7",
    ], "a bar chooses the records that it counts"  # fmt: skip
    assert list(bars(page, "group").items()) == [(HOSTILE, "0.40 · 6"), ("b", "0.90 · 2")]
    (section,) = [e for e in page.root.find("section") if e.attributes.get("id") == "chart-group"]
    (span,) = section.find("rect", "span")  # of two originals there is none
    low, width = (float(span.attributes[name] or "") for name in ("x", "width"))
    assert 20 <= low < 40 < low + width <= 60
    assert "8 of 10" in section.text, "one has no group, one no score"


def test_the_worst_and_those_that_the_judge_failed_on_are_among_the_shown(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    rows = [row(f"r{k:02d}", source) for k in range(40)]
    run.commit(*rows)
    judged = [score(r, 0.1 if k in (13, 31) else 0.9) for k, r in enumerate(rows)]
    judged[22] = score(rows[22], error=("judge_refused", "I'd rather not"))
    scores = evaluate(run, "e", *judged)
    _, page = write(run, scores.run, most=12)
    shown = {record["id"] for record in page.data["records"]}
    assert {"r13", "r31", "r22"} <= shown and 10 <= len(shown) <= 12
    assert "those with the lowest scores" in page.root.text
    assert bars(page, "overall") == {"0.1": "2", "0.2": "0"} | {f"0.{k}": "0" for k in range(3, 9)} | {
        "0.9+": "37"
    }, "charts count all"


def test_a_fooled_judge_is_warned_of(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rows = [row(f"r{k}", run.image("a"), (GREEN, BLUE)[: k % 2 + 1]) for k in range(4)]
    run.commit(*rows)
    results = [score(r, 0.2 * k) for k, r in enumerate(rows)]
    repeats = [score(r, 0.2 * k, judged="repeat") for k, r in enumerate(rows)]
    black = [score(r, 0.5, judged="black") for r in rows]
    other = [score(r, 0.0, judged="other") for r in rows[1:]]
    _, page = write(run, evaluate(run, "fooled", *results, *repeats, *black, *other).run)
    text = page.root.text
    assert "in 3 of 7 cases something that must not do scored as well as the result" in text
    assert "canary, a black image: mean 0.50, 3 of 4 as good as the result itself" in text
    assert "self-agreement (4 judged 2 times): ICC 1.00" in text
    _, page = write(run, evaluate(run, "honest", *results, *other).run)
    assert "was fooled" not in page.root.text and "0 of 3 as good as the result itself" in page.root.text


def test_judges_stand_side_by_side_and_one_is_not_given_twice(tmp_path: Path) -> None:
    run = Run(tmp_path)
    one = row("one", run.image("a"))
    run.commit(one)
    rules = evaluate(run, "a", score(one, 0.5))
    again = evaluate(run, "b", score(one, 0.6))
    other = evaluate(run, "c", score(one, 0.7, protocol="fidelity-judge/1"), judge="fidelity")
    _, page = write(run, rules.run, other.run)
    (record,) = page.data["records"]
    assert record["scores"] == {
        "judged": "judged", "overall": 0.5, "judged-2": "judged", "overall-2": 0.7,
    }  # fmt: skip
    assert [each["title"] for each in verdicts(page)["one"]] == ["rules-judge/1", "fidelity-judge/1"]
    with pytest.raises(ConfigError, match="is by the same judge, asked alike, as"):
        write(run, rules.run, again.run)
    gone = evaluate(run, "d", score(one | {"result_digest": "0" * 32}, 0.5))
    with pytest.raises(RunConflict, match=r"none of its 1 judgings .* \(1 about other pixels"):
        write(run, gone.run)
    with pytest.raises(RunConflict, match="is a run of the job edit"):
        write(run, run.store.uri)


@pytest.mark.parametrize(
    ("scale", "values", "labels"),
    [
        ((0.0, 10.0), (), [str(k) for k in range(11)]),
        ((1.0, 5.0), (1, 5), ["1", "2", "3", "4", "5"]),
        ((0.0, 1.0), (0.5,), ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]),
        ((0.0, 400.0), (1.0, 18.0), ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18"]),
        ((0.0, 25.0), (3.0, 3.0), ["3", "4"]),
    ],
)
def test_a_scale_is_cut_where_its_values_are(
    scale: tuple[float, float], values: tuple[float, ...], labels: list[str]
) -> None:
    edges, found = find_bins(scale, np.array(values, float))
    assert found == labels and len(edges) == len(labels) - 1
    assert edges == sorted(edges)


def test_hostile_words_of_a_judge_stay_text(tmp_path: Path) -> None:
    """They give the very elements that plain words give."""

    def outline(folder: Path, text: str) -> list[tuple[str, list[str]]]:
        run = Run(folder)
        rows = [row(name, run.image("a")) for name in ("a", "b")]
        run.commit(*rows)
        more = {"models": {"judge": text}, "protocol": text, "reason": text, "raw": [text], "group": text}
        scores = evaluate(
            run, "e", score(rows[0], 0.5, {text: (1, 0, 3)}, **more), score(rows[1], error=(text, text))
        )
        _, page = write(run, scores.run)
        assert page.root.text.count(text) >= 4
        return [(element.tag, sorted(element.attributes)) for element in page.root.find()]

    assert outline(tmp_path / "hostile", HOSTILE) == outline(tmp_path / "plain", "harmless")


def test_a_report_without_evaluations_says_nothing_of_scores(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("one", run.image("a")))
    found, page = write(run)
    assert not found.joins and "scores" not in page.data["records"][0]
    assert page.root.find("section", "scoring") == []
