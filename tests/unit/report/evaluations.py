"""Evaluations of chosen scores, made with the functions that make real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.evaluate.job import EvaluateJob
from mira_batch.evaluate.scores import Scores, read_scores
from mira_batch.runtime.prepare import make_spec
from mira_batch.storage import schema
from mira_batch.storage.run.layout import open_run, result_key
from mira_batch.storage.run.result_file import results_file
from tests.unit.report.runs import Run

PROTOCOL = "rules-judge/1"


def evaluate(run: Run, name: str, *rows: dict[str, Any], judge: str = "rules") -> Scores:
    """An evaluation of a run, with these rows."""
    config = EvaluateConfig.model_validate(
        {
            "input": {"manifest": run.store.uri},
            "judge": {"type": judge},
            "output": {"uri": str(run.folder / "scores")},
            "run_id": name,
        }
    )
    store = open_run(make_spec(EvaluateJob(config), [(run.store.uri, "1")], run.store.uri))
    store.create(result_key(0), results_file(rows, schema.SCORES))
    return read_scores(store.uri, config.storage)


def score(
    result: Mapping[str, Any],
    score: float | None = None,
    axes: Mapping[str, tuple[float, float, float]] | None = None,
    error: tuple[str, str] | None = None,
    judged: str = "result",
    **more: Any,
) -> dict[str, Any]:
    """The row of a judging of a result of a run: with a score, or with an error's kind and message."""
    name, failed = result["record_id"], result["status"] == "failed"
    if failed:
        error = (result["error_kind"], f"no result: {result['error_message']}")
    found = dict.fromkeys(schema.SCORES.names) | {
        "record_id": name if judged == "result" else f"{name}#{judged}",
        "work_id": f"{name} {judged}",
        "status": "ok" if error is None else "failed",
        "error_kind": None if error is None else error[0],
        "error_message": None if error is None else error[1],
        "judged": judged,
        "of": name,
        "result_status": result["status"],
        "num_steps": result["num_steps"],
        "edit_seconds": 2.0,
        "edit_cost": 0.0,
        "score": score,
        "axes": [
            {"name": axis, "value": value, "low": low, "high": high}
            for axis, (value, low, high) in (axes or {}).items()
        ],
        "protocol": None if score is None else PROTOCOL,
        "models": {"judge": "rules/7"},
        "seconds": {"policy": 0.0, "editor": 0.0, "judge": 1.0, "waiting": 0.0, "io": 0.0},
        "cost": 0.0,
    }
    copied = ("instruction", "source", "source_digest", "result_digest")
    return found | {column: result[column] for column in copied} | more
