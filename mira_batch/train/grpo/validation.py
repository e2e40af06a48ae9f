"""The greedy policy on held-out records: how many it gets right."""

from __future__ import annotations

import json
import time
from statistics import fmean
from typing import Any

from mira_batch import launch
from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.errors import UserError
from mira_batch.core.prompt import prompt_version
from mira_batch.core.types import ErrorKind, Status
from mira_batch.runtime.standing import NotedProgress
from mira_batch.train.grpo.record import Iteration
from mira_batch.train.grpo.rollouts import read_rollouts, read_scores
from mira_batch.train.iterations import Course


def validate(course: Course[GrpoConfig], done: int) -> dict[str, Any]:
    """Run the policy that so many iterations made, or take the figures that are there.

    Args:
        course: the training.
        done: iterations that are done.

    Raises:
        UserError: nothing could be judged.
        RunStopped: it was asked to stop. The same call goes on.
    """
    config, store, folder = course.config, course.store, f"validation/{done:06d}"
    assert config.validation is not None
    if (found := store.get(f"{folder}/validation.json")) is not None:
        return json.loads(found)
    began = time.monotonic()
    adapter = Iteration(store, done).find_policy(config.model.adapter)
    course.note(f"validation after {done} iterations")
    output = store.locate(f"{folder}/records")
    job = config.validation_job(config.validation.input, output, adapter)
    launch.run(job, NotedProgress(course.note), course.stop)
    records = read_rollouts(f"{output}/run", prompt_version(config.prompt.form), config.storage)
    judge = config.sentinel.judge if config.sentinel else config.rewards.judge
    if judge is None:
        scores = [each.score for each in records if each.status != Status.failed and each.score is not None]
    else:
        said, _ = read_scores(
            course.judge(judge, f"{output}/run", store.locate(f"{folder}/scores")), config.storage
        )
        scores = [each.score for each in said.values() if each.score is not None]
    malformed = sum(each.error_kind == ErrorKind.malformed_action for each in records)
    if not scores and not malformed:
        raise UserError(f"{output}/run: no record could be judged; `mira-batch status` says what failed")
    wins = sum(score >= config.validation.success for score in scores)
    figures = {
        "iteration": done,
        "records": len(records),
        "judged": len(scores),
        "malformed": malformed,
        "left_out": len(records) - len(scores) - malformed,
        # A record whose answers are malformed is not done, and has no result that could be scored.
        "success": wins / (len(scores) + malformed),
        "score": fmean([*scores, *[0.0] * malformed]),
        "seconds": time.monotonic() - began,
    }
    store.create(f"{folder}/validation.json", json.dumps(figures, indent=2).encode())
    course.note(
        f"validation after {done} iterations: success {figures['success']:.4f}, score {figures['score']:.4f}"
    )
    return figures
