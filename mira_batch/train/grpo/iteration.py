"""One iteration: rollouts by the edit job, rewards by the evaluate job, an update, and the file that says
that it is done. A call goes on in the phase that an earlier one was in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.errors import UserError
from mira_batch.core.prompt import prompt_version
from mira_batch.runtime.training import run_training
from mira_batch.train.grpo.groups import credit_rollouts, describe_groups, draw_records
from mira_batch.train.grpo.record import Iteration
from mira_batch.train.grpo.rewards import Scored, describe_rewards, reward_rollout
from mira_batch.train.grpo.rollouts import read_rollouts, read_scores
from mira_batch.train.grpo.states import choose_states, read_states
from mira_batch.train.grpo.update import update_policy
from mira_batch.train.iterations import Course, refuse_few


def run_iteration(course: Course[GrpoConfig], number: int) -> dict[str, Any]:
    """Make an iteration, or go on with it; its figures.

    Args:
        course: the training.
        number: of the iteration, from 0.

    Raises:
        UserError: too few rollouts have a reward, or as `update_policy`.
        RunStopped: it was asked to stop. The same call goes on.
    """
    files = Iteration(course.store, number)
    if (done := files.read("iteration")) is not None:
        return done
    rewards = files.read("rewards") or _reward(course, files)
    update = files.read("update")
    if update is None:
        course.note(f"iteration {number + 1}: update from {rewards['used']:,} rollouts")
        config = course.config.model_dump(mode="json", exclude_unset=True)
        settings = {"config": config, "iteration": number}
        own = course.config
        run_training(update_policy, settings, own.workers, own.backend, course.note)
        update = files.read("update") or {}
        _tell_update(course, files.number, rewards, update)
    seconds = rewards.pop("seconds") | {"update": update.pop("seconds", None)}
    figures = {"iteration": number + 1, **rewards, **update, "seconds": seconds}
    files.put("iteration", figures)
    return figures


def _reward(course: Course[GrpoConfig], files: Iteration) -> dict[str, Any]:
    """Rollouts and rewards; their figures."""
    config, began = course.config, time.monotonic()
    places = draw_records(course.records.count, config.seed, files.number, config.records)
    source = course.records.write(places, course.store, files.folder)
    adapter = files.find_policy(config.model.adapter)
    job = config.edit_job(source, files.locate_runs("rollouts"), adapter)
    each = "a trajectory" if job.rollouts == 1 else f"{job.rollouts} rollouts"
    course.note(f"iteration {files.number + 1}: {config.records:,} records, {each} of each")
    summary = course.run(job)
    scores: dict[tuple[str, int], Scored] = {}
    figures: dict[str, Any] = {"rejected": summary.rejected}
    if config.credit == "step":
        figures |= _propose(course, files, places, adapter)
    rolled, run = time.monotonic(), files.locate_learned(config)
    if config.rewards.judge is not None:
        judged = course.judge(config.rewards.judge, run, files.locate_runs("scores"), config.canaries)
        scores, canaries = read_scores(judged, config.storage)
        if config.canaries:
            figures["canaries"] = {kind: fmean(values) for kind, values in sorted(canaries.items())}
    rollouts = read_rollouts(run, prompt_version(config.prompt.form), config.storage)
    rewards = [
        reward_rollout(each, scores.get((each.record_id, each.rollout)), config.rewards) for each in rollouts
    ]
    figures |= describe_rewards(rollouts, rewards)
    most = config.rewards.max_left_out
    folder = course.store.locate(files.folder)
    made, left_out = figures["rollouts"], figures["left_out"]
    refuse_few(made, figures["rewarded"], left_out, most, "rollouts have no reward", folder)
    advantages = credit_rollouts(rollouts, rewards, config.loss.advantage)
    figures |= describe_groups(advantages)
    if config.sentinel is not None:
        said, _ = read_scores(
            course.judge(config.sentinel.judge, run, files.locate_runs("sentinel")), config.storage
        )
        values = [each.score for each in said.values() if each.score is not None]
        figures |= {"sentinel_mean": fmean(values) if values else None, "sentinel_judged": len(values)}
    files.put_rewards(rollouts, rewards, advantages)
    figures["seconds"] = {"rollouts": rolled - began, "rewards": time.monotonic() - rolled}
    files.put("rewards", figures)
    _tell(course, files.number, figures)
    return files.read("rewards") or figures


def _propose(
    course: Course[GrpoConfig], files: Iteration, places: Sequence[int], adapter: str | None
) -> dict[str, Any]:
    """One proposal after another at some of the states of the trajectories; counts of the states."""
    config, run = course.config, files.locate_run("rollouts")
    found, without = read_states(run, config.prompt.history, config.storage)
    if not found:
        raise UserError(
            f"{run}: the policy was asked at no state of any record; `mira-batch status` says what failed"
        )
    most = config.states or config.records
    chosen, equal = choose_states(found, most, config.choose, config.seed, files.number)
    source = course.records.write_states(places, chosen, course.store, files.folder)
    source = source.model_copy(update={"branches": run})
    course.note(
        f"iteration {files.number + 1}: {len(chosen):,} of {len(found):,} states, "
        f"{config.rollouts} proposals at each"
    )
    summary = course.run(config.proposals_job(source, files.locate_runs("proposals"), adapter))
    return {
        "states": len(chosen),
        "states_found": len(found),
        "states_doubt": fmean(state.doubt for state in found),
        "states_equal": equal,
        "records_without_state": without,
        "states_rejected": summary.rejected,
    }


def _tell(course: Course[GrpoConfig], number: int, figures: dict[str, Any]) -> None:
    score = figures["score_mean"]
    course.note(
        f"iteration {number + 1}: reward {figures['reward_mean']:.4f} ± {figures['reward_spread']:.4f}"
        + (f", score {score:.4f}" if score is not None else "")
        + f"; of {figures['groups']:,} groups {figures['groups_alike']:,} all alike; "
        f"{sum(figures['left_out'].values()):,} rollouts left out"
    )
    if not figures["used"]:
        course.note(f"iteration {number + 1}: no group differs in its rewards, so nothing is learned from it")


def _tell_update(
    course: Course[GrpoConfig], number: int, rewards: dict[str, Any], update: dict[str, Any]
) -> None:
    """What shows first that a policy comes apart: its entropy rises, and it stops no more."""
    answers, entropy = rewards["answers"], rewards.get("entropy")  # which earlier releases did not note there
    learned = "" if entropy is None else f"entropy {entropy:.3f} nats a token, "
    learned += f"{100 * update['clip_fraction']:.1f} % clipped; " if "clip_fraction" in update else ""
    course.note(
        f"iteration {number + 1}: {learned}of {answers:,} answers {rewards['answers_stop']:,} STOP, "
        f"{rewards['answers_malformed']:,} malformed"
    )
