"""Rows of evaluations, and evaluations made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mira_batch.evaluate.scores import Scores, gather_scores
from mira_batch.storage import schema


def make_row(
    name: str, score: float | None, original: str = "", axes: Mapping[str, float] | None = None, **more: Any
) -> dict[str, Any]:
    """A result's judging; `axes` are of 0 to 10."""
    made = [{"name": each, "value": value, "low": 0.0, "high": 10.0} for each, value in (axes or {}).items()]
    return {
        "record_id": name, "of": name, "judged": "result", "score": score, "axes": made,
        "instruction": "brighten it", "source": original or name, "source_digest": original or name,
        "result_status": "ok", "num_steps": 1, "edit_seconds": 1.0, "edit_cost": 0.0, "cost": 0.0,
        "protocol": None if score is None else "p/1", "models": {"judge": "j"}, "seconds": {}, **more,
    }  # fmt: skip


def make_scores(run: str, rows: Sequence[Mapping[str, Any]], **settings: Any) -> Scores:
    """An evaluation of these rows."""
    about = {"settings": {"scores": {"version": 1, "judge": {"type": "rules"}}, **settings}}
    return gather_scores(run, about, [pa.Table.from_pylist([*rows], schema=schema.SCORES)], {})
