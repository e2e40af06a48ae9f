"""The scores of a row by name."""

from __future__ import annotations

from typing import Any

from mira_batch.evaluate.scores import OVERALL, Scores, name_values
from mira_batch.evaluate.summary import summarise
from mira_batch.report.judged import describe_evaluation

AXES = [
    {"name": name, "value": value, "low": 0.0, "high": 10.0} for name, value in (("SC", 8.0), (OVERALL, 7.0))
]


def make_row(name: str, score: float | None, **more: Any) -> dict[str, Any]:
    axes = None if score is None else AXES
    row: dict[str, Any] = {
        "record_id": name, "of": name, "judged": "result", "score": score, "axes": axes, "group": None,
        "source": name, "source_digest": name, "result_status": "ok", "error_kind": None, "num_steps": 1,
        "edit_cost": 0.0, "cost": 0.0, "seconds": None, "protocol": "p/1", "models": {"judge": "j"}, **more,
    }  # fmt: skip
    return row | {"values": name_values(row)}


def make_scores(*rows: dict[str, Any], **settings: Any) -> Scores:
    return Scores(
        "run", {"settings": {"scores": {"version": 1, "judge": {"type": "rules"}}, **settings}}, rows
    )


def test_overall_is_the_score_whatever_axes_are_called() -> None:
    found = summarise(make_scores(make_row("a", 0.7), make_row("b", None)))
    assert {name: mean.value for name, mean in found.means.items()} == {OVERALL: 0.7, "SC": 8.0}
    assert found.scales == {OVERALL: (0.0, 1.0), "SC": (0.0, 10.0)}


def test_it_is_said_why_there_is_no_interval() -> None:
    for count, why in (
        (1, "All values come from one cluster"),
        (5, "All values come from 5 clusters"),
        (6, None),
    ):
        scores = make_scores(*(make_row(f"r{i}", 0.1 * i) for i in range(count)))
        said = [str(part) for part in describe_evaluation(summarise(scores))]
        notes = [line for line in said if line.startswith("no interval")]
        assert [note.startswith(f"no interval: {why}") for note in notes] == [True] * (why is not None)
