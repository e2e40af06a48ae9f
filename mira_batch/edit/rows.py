"""The rows that a bulk edit's records end in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mira_batch.core.types import Trajectory
from mira_batch.imaging import Fidelity
from mira_batch.marks import Marks
from mira_batch.storage.manifest import PlannedRecord
from mira_batch.storage.run.steprows import make_candidate_rows, make_step_row, make_usage_row


def make_result_row(
    record: PlannedRecord,
    trajectory: Trajectory,
    image: bytes | None,
    step_images: Sequence[dict[str, Any] | None],
    models: Mapping[str, str | None],
    source_digest: str | None,
    marks: Marks | None = None,
    source_type: str | None = None,
    fidelity: Fidelity | None = None,
    logged: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One record's row of schema `RESULTS`.

    Args:
        record: the record as planned.
        trajectory: what its loop did.
        image: the encoded result image; None when the input could not be decoded.
        step_images: an `IMAGE` value, or None, for each step.
        models: identity of policy, editor and judge.
        source_digest: digest of the input's pixels; None when it could not be decoded.
        marks: what the input says beside its pixels; None when it could not be opened.
        source_type: name of the digital source type that the result carries; None for none.
        fidelity: facts of the result against the input; None where they were not measured.
        logged: the columns for learning that a record of this run has; others are null.
    """
    failure = trajectory.failure
    size = trajectory.result.size if image is not None else (None, None)
    steps = [
        make_step_row(logged.step, picture)
        for logged, picture in zip(trajectory.steps, step_images, strict=True)
    ]
    return {
        "record_id": record.record_id,
        "work_id": record.work_id,
        "instruction": record.instruction,
        "status": trajectory.status,
        "stop_reason": trajectory.stop_reason,
        "error_kind": failure.kind if failure else None,
        "error_message": failure.message if failure else None,
        "image": None if image is None else {"bytes": image, "path": None},
        "width": size[0],
        "height": size[1],
        "num_steps": len(steps),
        **make_usage_row(trajectory.usage),
        "models": dict(models),
        "source": record.source,
        "source_digest": source_digest,
        "result_digest": None if image is None else trajectory.result.digest,
        "restored": trajectory.restored,
        "final_thought": trajectory.final_thought or None,
        "metadata": record.metadata,
        "source_depth": marks.depth if marks else None,
        "source_c2pa": marks.has_c2pa if marks else None,
        "source_type": source_type,
        "fidelity": None if fidelity is None else fidelity.dump(),
        "candidates": make_candidate_rows(logged.step for logged in trajectory.steps),
        "rollout": record.rollout,
        **{name: (logged or {}).get(name) for name in ("branch", "prompt_version", "answers", "judgements")},
        "steps": steps,
    }
