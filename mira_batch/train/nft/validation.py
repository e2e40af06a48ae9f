"""The editor on held-out records: what the judges say of it, and what it changes beside the instruction."""

from __future__ import annotations

import json
import time
from statistics import fmean
from typing import Any

from mira_batch import launch
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.core.errors import UserError
from mira_batch.runtime.standing import NotedProgress
from mira_batch.train.grpo.rollouts import read_scores
from mira_batch.train.iterations import Course
from mira_batch.train.nft.record import LORA, Iteration
from mira_batch.train.nft.samples import list_scores, read_samples
from mira_batch.train.nft.sentinels import measure_images


def validate(course: Course[EditorNftConfig], done: int) -> dict[str, Any]:
    """Run the adapter that so many iterations made, or take the figures that are there.

    Args:
        course: the training.
        done: iterations that are done.

    Returns:
        With `score`, by which adapters are compared: the sentinel's, if there is one, else the reward's.

    Raises:
        UserError: nothing could be judged.
        RunStopped: it was asked to stop. The same call goes on.
    """
    config, store, folder = course.config, course.store, f"validation/{done:06d}"
    assert config.validation is not None
    if (found := store.get(f"{folder}/validation.json")) is not None:
        return json.loads(found)
    began = time.monotonic()
    course.note(f"validation after {done} iterations")
    output = store.locate(f"{folder}/records")
    adapter = Iteration(store, done).locate_adapter(LORA, config.adapter)
    job = config.validation_job(config.validation, output, adapter)
    launch.run(job, NotedProgress(course.note), course.stop)
    run = f"{output}/run"
    samples = read_samples(run, config.storage)

    def ask(judge: JudgeConfig, name: str) -> list[float]:
        said, _ = read_scores(course.judge(judge, run, store.locate(f"{folder}/{name}")), config.storage)
        return list_scores(samples, said)

    scores = {"reward": ask(config.rewards.judge, "scores")}
    if config.sentinel is not None:
        scores["sentinel"] = ask(config.sentinel.judge, "sentinel")
    if empty := [name for name, values in scores.items() if not values]:
        raise UserError(
            f"{run}: no record could be judged ({', '.join(empty)}); `mira-batch status` says what failed"
        )
    means = {name: fmean(values) for name, values in scores.items()}
    figures = {
        "iteration": done,
        "records": len(samples),
        **{f"{name}_judged": len(values) for name, values in scores.items()},
        **{f"{name}_mean": mean for name, mean in means.items()},
        "score": means.get("sentinel", means["reward"]),
        **measure_images(samples),
        "seconds": time.monotonic() - began,
    }
    store.create(f"{folder}/validation.json", json.dumps(figures, indent=2).encode())
    told = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    course.note(f"validation after {done} iterations: {told}")
    return figures
