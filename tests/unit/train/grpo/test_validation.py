"""What came of held-out records of a policy."""

from __future__ import annotations

from typing import Any

from mira_batch.train.grpo.rewards import Rollout, Scored
from mira_batch.train.grpo.validation import Counted, count_records


def record(name: str, status: str = "ok", error: str | None = None, score: float | None = None) -> Rollout:
    some: dict[str, Any] = {"edits": 1, "kinds": ("edit",), "tokens": 4}
    return Rollout(0, 0, name, 0, name, status, error, score=score, **some)


RECORDS = [
    record("a", score=0.25),
    record("b", "unfinished"),
    record("c", "failed", "malformed_action", 0.5),
    record("d", "failed", "editor_failed", 0.5),
    record("e", score=0.75),
]


def test_by_the_judge_in_the_loop() -> None:
    assert count_records(RECORDS, None) == Counted((0.25, 0.75), 1, {"editor_failed": 1, "judge_failed": 1})


def test_by_an_evaluation_each_record_counts_once() -> None:
    said = {("a", 0): Scored(1.0, {}), ("b", 0): Scored(0.0, {}), ("c", 0): Scored(0.5, {})}
    said["e", 0] = Scored(None, {}, "judge_timeout")
    assert count_records(RECORDS, said) == Counted((1.0, 0.0), 1, {"editor_failed": 1, "judge_timeout": 1})
    assert count_records(RECORDS[:1], {}) == Counted((), 0, {"judge_failed": 1})
