"""The editor on held-out records: what the judges say of it, and what it changes beside the instruction."""

from __future__ import annotations

import time
from typing import Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.train.grpo.rollouts import read_scores
from mira_batch.train.iterations import Course, refuse_few
from mira_batch.train.nft.record import LORA, Iteration
from mira_batch.train.nft.samples import describe_rewards, read_samples, reward_samples
from mira_batch.train.nft.sentinels import measure_images
from mira_batch.train.validations import name_validation, put_validation, read_validation


def validate(course: Course[EditorNftConfig], done: int) -> dict[str, Any]:
    """Run the adapter that so many iterations made, or take the figures that are there.

    Args:
        course: the training.
        done: iterations that are done.

    Returns:
        With `score`, by which adapters are compared: the sentinel's, if there is one, else the reward's.

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
    course.note(f"validation after {done} iterations")
    output = store.locate(f"{folder}/records")
    adapter = Iteration(store, done).locate_adapter(LORA, config.adapter)
    job = config.validation_job(config.validation, output, adapter)
    summary = course.run(job)
    run = f"{output}/run"
    samples = read_samples(run, config.storage)
    figures: dict[str, Any] = {"iteration": done, "records": len(samples), "rejected": summary.rejected}
    told: list[str] = []

    def ask(judge: JudgeConfig, name: str, scores: str) -> None:
        said, _ = read_scores(course.judge(judge, run, store.locate(f"{folder}/{scores}")), config.storage)
        found = describe_rewards(reward_samples(samples, said))
        judged, left_out = found["rewarded"], found["left_out"]
        most, place = config.rewards.max_left_out, store.locate(folder)
        refuse_few(len(samples), judged, left_out, most, f"held-out records have no {name} score", place)
        figures[f"{name}_judged"], figures[f"{name}_left_out"] = judged, left_out
        figures[f"{name}_mean"] = figures["score"] = found["score_mean"]
        told.append(f"{name} {found['score_mean']:.4f} of {judged:,} of {len(samples):,} records")

    ask(config.rewards.judge, "reward", "scores")
    if config.sentinel is not None:  # asked last: its is the score that counts
        ask(config.sentinel.judge, "sentinel", "sentinel")
    figures |= measure_images(samples) | {"seconds": time.monotonic() - began}
    course.note(f"validation after {done} iterations: {', '.join(told)}")
    return put_validation(course, done, figures)
