"""The scores of an evaluation as they are held in memory."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mira_batch import load_config, run
from mira_batch.config.load import load_job_config
from mira_batch.config.shared import StorageConfig
from mira_batch.evaluate.scores import OVERALL, Scores, read_scores
from mira_batch.evaluate.summary import summarise
from mira_batch.launch import run as run_any
from mira_batch.report.judged import describe_evaluation
from mira_batch.storage import schema
from tests.support.runs.catalogue import make_catalogue, settings


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real one, of four records; its results may be replaced."""
    folder = tmp_path_factory.mktemp("scores")
    edited = run(load_config(settings(make_catalogue(folder / "c", 4, size=16), folder / "out"))).run
    config = {"job": "evaluate", "input": {"manifest": edited}, "output": {"uri": str(folder / "scores")}}
    return Path(run_any(load_job_config({**config, "judge": {"type": "rules"}, "backend": "inline"})).run)


def read_rows(evaluation: Path, *rows: dict[str, Any]) -> Scores:
    """An evaluation with these results, a file each."""
    for path in (evaluation / "results").iterdir():
        path.unlink()
    for shard, row in enumerate(rows):
        full = {"record_id": row["of"], "judged": "result", "models": {"judge": "me"}, "seconds": {}, **row}
        table = pa.Table.from_pylist([full], schema=schema.SCORES)
        pq.write_table(table, evaluation / "results" / f"part-{shard:05d}.parquet")
    return read_scores(str(evaluation), StorageConfig())


def axis(name: str, value: float, high: float) -> dict[str, Any]:
    return {"name": name, "value": value, "low": 0.0, "high": high}


def test_rows_of_different_axes_are_put_together(evaluation: Path) -> None:
    scores = read_rows(
        evaluation,
        {"of": "a", "score": 0.5, "axes": [axis("SC", 5, 10), axis("overall", 5, 10)], "source": "x"},
        {"of": "b", "status": "failed", "error_kind": "judge_failed", "source": "y"},
        {"of": "c", "score": 0.9, "axes": [axis("PQ", 9, 25)], "source": "x", "source_digest": "1"},
        {"of": "a", "judged": "repeat", "record_id": "a#repeat", "score": 0.6, "axes": [], "source": "x"},
    )
    rows = scores.results
    assert [row["of"] for row in rows] == ["a", "b", "c"] and len(scores.controls) == 1
    assert [row["values"] for row in rows] == [{OVERALL: 0.5, "SC": 5.0}, {}, {OVERALL: 0.9, "PQ": 9.0}]
    assert scores.scales == {OVERALL: (0, 1), "SC": (0, 10), "PQ": (0, 25)}, "overall is the score, in [0, 1]"
    assert rows.scored.tolist() == [True, False, True] and len(np.unique(rows.clusters)) == 3
    again, own = scores.beside("repeat")
    assert own.tolist() == [0.5] and again.values[OVERALL].tolist() == [0.6]
    found = summarise(scores)
    assert (found.records, found.judged, found.judge_failed) == (3, 2, 1)
    assert found.errors == {"judge_failed": 1} and list(found.means) == [OVERALL, "SC", "PQ"]


def test_an_evaluation_without_rows_or_scores_has_none(evaluation: Path) -> None:
    assert len(read_rows(evaluation).results) == 0
    nothing = summarise(read_rows(evaluation, {"of": "a", "status": "failed", "error_kind": "judge_failed"}))
    assert (nothing.records, nothing.judged, nothing.means, nothing.steps) == (1, 0, {}, None)


def test_records_without_the_key_of_groups_are_counted_and_it_is_said(evaluation: Path) -> None:
    rows = [{"of": "a", "score": 0.7, "group": "x"}, {"of": "b", "score": 0.7}, {"of": "c"}]
    scores = read_rows(evaluation, *rows)
    assert summarise(scores).ungrouped == 0, "no groups were asked for"
    about = {**scores.about, "settings": {**scores.about["settings"], "group": "kind"}}
    found = summarise(replace(scores, about=about))
    assert (list(found.groups), found.ungrouped) == (["x"], 1)
    text = "\n".join(str(part) for part in describe_evaluation(found))
    assert "in no group, since their metadata have no 'kind': 1 judged" in text


def test_a_group_leaves_out_axes_that_none_of_its_records_has(evaluation: Path) -> None:
    """Kinds of edits are scored by axes of their own; and JSON has no NaN."""
    rows = [
        {"of": "a", "score": 0.7, "group": "x", "axes": [axis("SC", 5, 10)]},
        {"of": "b", "score": 0.4, "group": "y", "axes": [axis("PQ", 4, 10)]},
    ]
    found = summarise(read_rows(evaluation, *rows))
    assert {group: [*means] for group, means in found.groups.items()} == {
        "x": [OVERALL, "SC"], "y": [OVERALL, "PQ"],
    }  # fmt: skip
    assert found.groups["y"]["PQ"].value == 4.0 and list(found.means) == [OVERALL, "SC", "PQ"]
    json.dumps(found.dump(), allow_nan=False)
    table = next(part for part in describe_evaluation(found) if "by group" in _show(part))
    assert "–" in _show(table) and "nan" not in _show(table)


def _show(part: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_canary_is_held_against_results_that_have_a_score(evaluation: Path) -> None:
    """Of b there is nothing to be as good as."""
    canaries = [{"of": of, "judged": "black", "score": 0.9} for of in "ab"]
    found = summarise(read_rows(evaluation, {"of": "a", "score": 0.7}, {"of": "b"}, *canaries))
    (black,) = found.canaries
    assert (black.judged, black.compared, black.as_good) == (2, 1, 1)
    assert "mean 0.90, 1 of 1 as good" in "\n".join(str(part) for part in describe_evaluation(found))
