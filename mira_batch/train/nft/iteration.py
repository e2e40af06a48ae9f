"""One iteration: samples by the edit job, rewards by the evaluate job, an update, and the file that says that
it is done. A call goes on in the phase that an earlier one was in."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from statistics import fmean
from typing import Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.runtime.training import run_training
from mira_batch.train.grpo.rewards import Reward
from mira_batch.train.grpo.rollouts import read_scores
from mira_batch.train.iterations import Course, refuse_few
from mira_batch.train.nft.groups import Filtered, draw_unsolved, filter_groups
from mira_batch.train.nft.record import SAMPLING, Iteration
from mira_batch.train.nft.samples import Sample, describe_rewards, list_scores, read_samples, reward_samples
from mira_batch.train.nft.sentinels import measure_diversity, measure_images
from mira_batch.train.nft.update import update_editor


def run_iteration(course: Course[EditorNftConfig], number: int) -> dict[str, Any] | None:
    """Make an iteration, or go on with it; its figures. None: all records are solved.

    Args:
        course: the training.
        number: of the iteration, from 0.

    Raises:
        UserError: too few samples have a reward, or as `update_editor`.
        RunStopped: it was asked to stop. The same call goes on.
    """
    files = Iteration(course.store, number)
    if (done := files.read("iteration")) is not None:
        return done
    solved = files.before.read_solved() if files.before else ()
    places = _draw(course, files, solved)
    if not places:
        return None
    rewards = files.read("rewards") or _reward(course, files, places, solved)
    update = files.read("update")
    if update is None:
        course.note(f"iteration {number + 1}: update from {rewards['used']:,} samples")
        config = course.config.model_dump(mode="json", exclude_unset=True)
        settings = {"config": config, "iteration": number}
        run_training(update_editor, settings, course.config.workers, course.config.backend, course.note)
        update = files.read("update") or {}
    files.delete_encoded()  # here, since a call that was killed after its update has left them
    seconds = rewards.pop("seconds") | update.pop("seconds", {})
    figures = {"iteration": number + 1, **rewards, **update, "seconds": seconds}
    files.put("iteration", figures)
    return figures


def _draw(course: Course[EditorNftConfig], files: Iteration, solved: Collection[int]) -> tuple[int, ...]:
    """Places of the iteration's records."""
    if (found := files.read("draw")) is not None:
        return tuple(found["places"])
    before = (files.before.read("draw") or {}) if files.before else {}
    config = course.config
    places, end = draw_unsolved(
        course.records.count, config.seed, before.get("next", 0), config.records, solved
    )
    if places:
        files.put("draw", {"places": places, "next": end})
    return places


def _reward(
    course: Course[EditorNftConfig], files: Iteration, places: Sequence[int], solved: Collection[int]
) -> dict[str, Any]:
    """Samples and rewards; their figures."""
    config, began = course.config, time.monotonic()
    source = course.records.write(places, course.store, files.folder)
    job = config.edit_job(
        source, files.locate_runs("samples"), files.locate_adapter(SAMPLING, config.adapter)
    )
    course.note(f"iteration {files.number + 1}: {len(places):,} records, {config.rollouts} samples of each")
    summary = course.run(job)
    rolled, run = time.monotonic(), files.locate_run("samples")
    scores, _ = read_scores(
        course.judge(config.rewards.judge, run, files.locate_runs("scores")), config.storage
    )
    samples = read_samples(run, config.storage)
    rewards = reward_samples(samples, scores)
    figures: dict[str, Any] = {"records": len(places), "rejected": summary.rejected}
    figures |= describe_rewards(rewards)
    most, folder = config.rewards.max_left_out, course.store.locate(files.folder)
    made, left_out = figures["samples"], figures["left_out"]
    refuse_few(made, figures["rewarded"], left_out, most, "samples have no reward", folder)
    filtered = filter_groups(
        [reward.value for reward in rewards], [each.group for each in samples], config.filter
    )
    figures |= filtered.describe() | measure_images(samples) | {"diversity": measure_diversity(samples)}
    if config.sentinel is not None:
        said, _ = read_scores(
            course.judge(config.sentinel.judge, run, files.locate_runs("sentinel")), config.storage
        )
        values = list_scores(samples, said)
        figures |= {"sentinel_mean": fmean(values) if values else None, "sentinel_judged": len(values)}
    optimality = find_optimality(rewards, samples, filtered, config.loss.clip)
    now = _add_solved(course, samples, filtered, places, solved)
    figures["records_solved"] = len(now)
    files.put_rewards(samples, rewards, optimality, now)
    figures["seconds"] = {"samples": rolled - began, "rewards": time.monotonic() - rolled}
    files.put("rewards", figures)
    _tell(course, files.number, figures)
    return files.read("rewards") or figures


def find_optimality(
    rewards: Sequence[Reward], samples: Sequence[Sample], filtered: Filtered, clip: float
) -> list[float | None]:
    """The optimality of each sample that is learned from, among these; None of the others.

    Args:
        rewards: of each sample.
        samples: all of an iteration.
        filtered: which are learned from.
        clip: of advantages.
    """
    import torch

    from mira_batch.train.editor.nft import compute_optimality

    used = [place for place, learned in enumerate(filtered.used) if learned]
    found: list[float | None] = [None] * len(samples)
    if used:
        numbers = {
            group: number for number, group in enumerate(dict.fromkeys(each.group for each in samples))
        }
        given = torch.tensor([rewards[place].value for place in used], dtype=torch.float64)
        groups = torch.tensor([numbers[samples[place].group] for place in used])
        for place, value in zip(used, compute_optimality(given, groups, clip).tolist(), strict=True):
            found[place] = value
    return found


def _add_solved(
    course: Course[EditorNftConfig],
    samples: Sequence[Sample],
    filtered: Filtered,
    places: Sequence[int],
    solved: Collection[int],
) -> list[int]:
    """Places of all records that are solved by now."""
    names = {each.record_id for each in samples if each.group in filtered.solved}
    if not names:
        return sorted(solved)
    records = course.records.read(places)
    return sorted({*solved, *(p for p, r in zip(places, records, strict=True) if r.record_id in names)})


def _tell(course: Course[EditorNftConfig], number: int, figures: dict[str, Any]) -> None:
    course.note(
        f"iteration {number + 1}: reward {figures['score_mean']:.4f} ± {figures['score_spread']:.4f}; of "
        f"{figures['groups']:,} groups {figures['groups_used']:,} teach, {figures['groups_narrow']:,} differ "
        f"too little, {figures['groups_solved']:,} are solved; "
        f"{sum(figures['left_out'].values()):,} samples left out"
    )
    if figures.get("sentinel_judged") == 0:
        course.note(f"iteration {number + 1}: the sentinel has judged nothing, so it watches nothing")
    if not figures["used"]:
        course.note(f"iteration {number + 1}: no group teaches anything, so nothing is learned from it")
