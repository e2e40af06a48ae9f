"""The update of an iteration: what each worker does, from rewarded rollouts to the next adapter."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.errors import UserError
from mira_batch.storage.stores import open_store
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.grpo.groups import cut_minibatches
from mira_batch.train.grpo.learner import Learner
from mira_batch.train.grpo.record import Iteration, read_advantages
from mira_batch.train.grpo.rollouts import Lesson, Pictures, read_lessons
from mira_batch.train.model import load_learner, name_base, save_learned
from mira_batch.train.optimizer import dump_optimizer, find_device, make_optimizer
from mira_batch.train.workers import check_workers, gather, is_first


def update_policy(settings: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Update the policy, as one of the workers; the first of them writes the adapter.

    Args:
        settings: `config`, a `GrpoConfig` as JSON data, and `iteration`, from 0.
        note: told how it goes, for people.

    Returns:
        The figures of `update.json`.

    Raises:
        UserError: trainer and rollouts are of two policies, the model is blind, files are damaged, or
            gradients are no numbers any more.
    """
    config = GrpoConfig.model_validate(settings["config"])
    check_workers(config.workers.num)
    store = open_store(config.output.uri, config.storage)
    files = Iteration(store, settings["iteration"])
    folder = Path(tempfile.mkdtemp(prefix="mira-batch-update-"))
    began = time.monotonic()
    try:
        learner, processor, optimizer = load_updater(config, files, folder)
        lessons = read_lessons(
            files.locate_learned(config),
            read_advantages(files),
            Pictures(folder / "pictures"),
            config.storage,
        )
        figures: dict[str, Any] = {"answers_used": len(lessons), "steps": 0}
        if lessons:
            figures |= measure_agreement(config, learner, lessons)
            figures["sight"] = measure_sight(config, learner, lessons)
            figures |= _learn(config, learner, optimizer, lessons, files.number, note if is_first() else None)
        if not is_first():
            return {}
        save_learned(learner.model, processor, folder / "learned", config.model.weights)
        figures["seconds"] = time.monotonic() - began
        files.put_update(folder / "learned" / "adapter", dump_optimizer(optimizer), figures)
        return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load_updater(config: GrpoConfig, files: Iteration, folder: Path) -> tuple[Learner, Any, Any]:
    """The learner, its processor and its optimiser, as the iteration before left them.

    Args:
        config: of the training.
        files: of the iteration.
        folder: on this machine, for images.
    """
    import torch

    device = find_device(config.workers.gpus)
    adapter = files.find_policy(config.model.adapter)
    begun = config.model.model_copy(update={"adapter": adapter})
    pixels = config.prompt.max_pixels
    model, processor, _ = load_learner(begun, config.tuning, pixels, config.storage, device, config.seed)
    for layer in model.modules():  # an adapter that was taught with dropout brings it along
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0  # or trainer and rollout were two policies; eval() would end checkpointing, too
    if is_first():
        # Beyond the first iteration the adapter is read only as the reference of a divergence.
        reference = config.model.adapter if config.loss.kl_weight else None
        base = name_base(config.model.model_copy(update={"adapter": reference}), config.storage)
        setting = "model.weights or model.adapter" if reference else "model.weights"
        files.claim_base(base, setting)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    learner = Learner(config, model, processor, Pictures(folder / "pictures"), device)
    before = Iteration(files.store, files.number - 1)
    state = before.read_bytes("optimizer.pt") if files.number else None
    done = files.number / config.iterations
    optimizer = make_optimizer(learner.weights, config.optimizer, done, state)
    return learner, processor, optimizer


def measure_agreement(config: GrpoConfig, learner: Learner, lessons: Sequence[Lesson]) -> dict[str, float]:
    """See that trainer and rollouts are of one policy: how far their log-probabilities differ.

    Args:
        config: with the tolerance.
        learner: before its first step.
        lessons: of the iteration; some of them are looked at.

    Raises:
        UserError: they differ by more than that.
    """
    some = _spread(len(lessons), config.agreement.answers)
    own = [lessons[number] for number in learner.share(some)]
    gaps = [
        abs(now - then)
        for lesson, logprobs in zip(own, learner.measure(own), strict=True)
        for now, then in zip(logprobs, lesson.logprobs, strict=True)
    ]
    found = gather((sum(gaps), max(gaps, default=0.0), len(gaps)))
    tokens = sum(count for _, _, count in found)
    mean, most = sum(total for total, _, _ in found) / tokens, max(largest for _, largest, _ in found)
    _refuse_others(config, mean, most, tokens)
    return {"agreement_mean": mean, "agreement_most": most}


def measure_sight(config: GrpoConfig, learner: Learner, lessons: Sequence[Lesson]) -> float:
    """How far the images matter: the mean change of an answer's log-likelihood, in nats and in either
    direction, when grey stands in for them.

    Args:
        config: says how many answers are looked at.
        learner: that they are asked of.
        lessons: of the iteration.

    Raises:
        UserError: no answer's likelihood changes at all: the model doesn't see.
    """
    seen = [lessons[number] for number in learner.share(_spread(len(lessons), config.sight_answers))]
    pairs = zip(learner.measure(seen), learner.measure(seen, blank=True), strict=True)
    changes = [each for part in gather([abs(sum(a) - sum(b)) for a, b in pairs]) for each in part]
    if not any(changes):
        raise UserError(
            f"the model is blind: of {len(changes)} answers none's likelihood changes when the images are "
            "blanked; they don't reach the model (its processor, its weights, or a mask of its attention)"
        )
    return sum(changes) / len(changes)


def _refuse_others(config: GrpoConfig, mean: float, most: float, tokens: int) -> None:
    """
    Raises:
        UserError: so large a difference is more than is allowed.
    """
    allowed = config.agreement
    if mean <= allowed.mean and most <= allowed.most:
        return
    raise UserError(
        f"trainer and rollouts are not of one policy: over {tokens:,} tokens their log-probabilities differ "
        f"by {mean:.4g} on average and {most:.4g} at most, in nats; allowed are {allowed.mean:g} and "
        f"{allowed.most:g}. See whether model.weights or its adapter were replaced since the rollouts; "
        "whether `prompt` is what they were asked with; and, beside bfloat16, whether precision, model.dtype "
        "and model.attention round alike. Only if the difference is rounding raise `agreement`"
    )


def _learn(
    config: GrpoConfig,
    learner: Learner,
    optimizer: Any,
    lessons: Sequence[Lesson],
    iteration: int,
    note: Callable[[str], None] | None,
) -> dict[str, Any]:
    """All epochs; the mean figures of their steps, each token counting alike."""
    reference = _ask_reference(config, learner, lessons) if config.loss.kl_weight else None
    learner.model.train()
    sums, norms = [0.0, 0.0, 0.0, 0], list[float]()
    for epoch in range(config.epochs):
        for numbers in cut_minibatches(len(lessons), config.minibatch, config.seed, iteration, epoch):
            own = learner.share(numbers.tolist())
            own.sort(key=lambda number: len(lessons[number].tokens))  # so that little of a batch is filling
            tokens = sum(len(lessons[number].tokens) for number in numbers)
            told = None if reference is None else [reference[number] for number in own]
            for result, count in learner.backward(
                [lessons[number] for number in own], told, tokens, len(numbers)
            ):
                for place, value in enumerate((result.clipped, result.ratio, result.kl or 0.0, 1)):
                    sums[place] += value * count
            norms.append(learner.step(optimizer))
            if note is not None:
                note(f"iteration {iteration + 1}: step {len(norms)}, gradient norm {norms[-1]:.4f}")
    clipped, ratio, kl, count = (sum(part) for part in zip(*gather(sums), strict=True))
    return {
        "steps": len(norms),
        "clip_fraction": clipped / count,
        "ratio": ratio / count,
        "kl": kl / count if reference is not None else None,
        "tokens_used": sum(len(lesson.logprobs) for lesson in lessons),
        "grad_norm": sum(norms) / len(norms),
        "learning_rate": optimizer.param_groups[0]["lr"],
    }


def _ask_reference(config: GrpoConfig, learner: Learner, lessons: Sequence[Lesson]) -> dict[int, list[float]]:
    """Log-probabilities of all answers by what the training began with; each worker asks for its part."""
    place = config.model.adapter
    own = learner.share(range(len(lessons)))
    with learner.as_reference(None if place is None else fetch_weights(place, config.storage).path):
        found = dict(zip(own, learner.measure([lessons[number] for number in own]), strict=True))
    return {number: values for part in gather(found) for number, values in part.items()}


def _spread(count: int, most: int) -> list[int]:
    """Numbers below `count`, at most so many, evenly spread."""
    return sorted({place * count // min(most, count) for place in range(min(most, count))})
