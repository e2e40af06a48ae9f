"""The greedy policy on held-out records: how many it gets right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.prompt import prompt_version
from mira_batch.core.types import ErrorKind, Status
from mira_batch.train.grpo.record import Iteration
from mira_batch.train.grpo.rewards import Rollout, Scored
from mira_batch.train.grpo.rollouts import read_rollouts, read_scores
from mira_batch.train.iterations import Course, refuse_few
from mira_batch.train.validations import name_validation, put_validation, read_validation


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of held-out records. Counts add up to their number."""

    scores: tuple[float, ...]
    """Of those that were judged."""
    malformed: int
    """Those whose answers are malformed: they are not done, and have no result that could be scored."""
    left_out: Mapping[str, int]
    """The others, by the kind of fault."""


def validate(course: Course[GrpoConfig], done: int) -> dict[str, Any]:
    """Run the policy that so many iterations made, or take the figures that are there.

    Args:
        course: the training.
        done: iterations that are done.

    Raises:
        UserError: too few records could be judged.
        RunConflict: as `read_validation`.
        RunStopped: it was asked to stop. The same call goes on.
    """
    if (found := read_validation(course, done)) is not None:
        return found
    config, store, folder = course.config, course.store, name_validation(done)
    assert config.validation is not None
    began = time.monotonic()
    adapter = Iteration(store, done).find_policy(config.model.adapter)
    course.note(f"validation after {done} iterations")
    output = store.locate(f"{folder}/records")
    job = config.validation_job(config.validation.input, output, adapter)
    summary = course.run(job)
    records = read_rollouts(f"{output}/run", prompt_version(config.prompt.form), config.storage)
    judge = config.sentinel.judge if config.sentinel else config.rewards.judge
    said = None
    if judge is not None:
        run = course.judge(judge, f"{output}/run", store.locate(f"{folder}/scores"))
        said, _ = read_scores(run, config.storage)
    counted = count_records(records, said)
    judged = len(counted.scores) + counted.malformed
    most, place = config.rewards.max_left_out, store.locate(folder)
    refuse_few(len(records), judged, counted.left_out, most, "held-out records have no score", place)
    wins = sum(score >= config.validation.success for score in counted.scores)
    figures = {
        "iteration": done,
        "records": len(records),
        "rejected": summary.rejected,
        "judged": len(counted.scores),
        "malformed": counted.malformed,
        "left_out": len(records) - judged,
        "success": wins / judged,
        "score": fmean([*counted.scores, *[0.0] * counted.malformed]),
        "seconds": time.monotonic() - began,
    }
    course.note(
        f"validation after {done} iterations: success {figures['success']:.4f}, score {figures['score']:.4f} "
        f"of {judged:,} of {len(records):,} records"
    )
    return put_validation(course, done, figures)


def count_records(records: Sequence[Rollout], said: Mapping[tuple[str, int], Scored] | None) -> Counted:
    """What came of held-out records.

    Args:
        records: of the run.
        said: of their results, by record and rollout; None: the judge in the loop scored them.
    """
    scores, malformed, left_out = list[float](), 0, Counter[str]()
    for each in records:
        if each.error_kind == ErrorKind.malformed_action:
            malformed += 1
        elif each.status == Status.failed:
            left_out[each.error_kind or "unknown"] += 1
        else:
            scored = Scored(each.score, {}) if said is None else said.get((each.record_id, each.rollout))
            if scored is None or scored.score is None:
                left_out[(scored and scored.error_kind) or str(ErrorKind.judge_failed)] += 1
            else:
                scores.append(scored.score)
    return Counted(tuple(scores), malformed, dict(sorted(left_out.items())))
