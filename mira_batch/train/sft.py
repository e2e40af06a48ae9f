"""Teaching a policy by demonstrations: what each worker does, from the settings to what was learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mira_batch.config.train import FullTuning, SftConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import Store
from mira_batch.train.batches import StepBatches
from mira_batch.train.card import write_card
from mira_batch.train.checkpoints import fetch_newest
from mira_batch.train.encoding import SampleEncoder
from mira_batch.train.measure import AnswerScores, measure_sight, score_answers
from mira_batch.train.model import load_learner, save_learned
from mira_batch.train.optimizer import choose_arithmetic
from mira_batch.train.record import claim_base, publish
from mira_batch.train.samples import SampleReader, SampleSet, draw_places, find_samples, order_samples
from mira_batch.train.sharding import gather_weights
from mira_batch.train.steps import Watch, list_metrics, run_worker, tell_begin
from mira_batch.train.trainer import make_arguments, make_trainer
from mira_batch.train.workers import count_workers, gather, is_first, name_rank


def train_policy(
    settings: Mapping[str, Any], note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train, as one of the workers, going on from the newest checkpoint; the first of them writes the result.

    Args:
        settings: an `SftConfig` as JSON data.
        note: told how it goes, for people.
        stop: asks to end between two steps; with the only worker alone.

    Returns:
        The figures of `result.json`.

    Raises:
        UserError: settings, files or data are wrong, the model is blind, or its loss is no number any more.
    """
    return run_worker(SftConfig.model_validate(settings), _train, note, stop)


def plan_order(config: SftConfig, samples: SampleSet) -> np.ndarray:
    """The places of samples in the order in which they are learned from, all epochs of them.

    Only whole steps are made: what is left at the very end, fewer samples than a step takes, is left out.

    Args:
        config: of the training.
        samples: of the split train.

    Raises:
        ConfigError: there are not enough for one step.
    """
    each = config.step_samples
    wanted = config.max_steps * each if config.max_steps else len(samples) * (config.epochs or 1)
    epochs = math.ceil(wanted / len(samples))
    order = np.concatenate(
        [order_samples(samples, config.seed, epoch, config.data.window) for epoch in range(epochs)]
    )
    steps = min(wanted, len(order)) // each
    if not steps:
        raise ConfigError(
            f"data.uri: {len(samples)} samples, {len(order)} over all epochs, don't make one step of {each} "
            "(batch x accumulate x workers.num); lower these, or raise epochs"
        )
    return order[: steps * each]


def _train(
    config: SftConfig, store: Store, folder: Path, note: Callable[[str], None], stop: StopRequest
) -> dict[str, Any]:
    train = find_samples(config.data.uri, "train", config.storage)
    order = plan_order(config, train)
    steps = len(order) // config.step_samples
    device = make_arguments(config, steps, folder / "own").device
    model, processor, weights = load_learner(
        config.model, config.tuning, config.prompt.max_pixels, config.storage, device, config.seed
    )
    if is_first():
        claim_base(store, weights.identity, "model.weights or model.adapter")
    encoder = SampleEncoder(processor, model, config.prompt)
    reader = SampleReader(train, config.storage, config.data.window)
    batches = StepBatches(config, encoder, reader, order)
    watch = Watch(config, store, steps, note, None, stop)
    trainer = make_trainer(config, model, processor, len(order), batches.collate, watch, folder / "own")
    arithmetic = partial(choose_arithmetic, config.precision, device)
    if config.validation is not None:
        watch.validate = _make_validation(config, encoder, trainer.model, arithmetic)
    looked_at = reader.read(draw_places(len(train), config.sight_samples, config.seed))
    (folder / "checkpoint").mkdir()
    found = fetch_newest(store, folder / "checkpoint", note)
    began = found.step if found else 0
    note(f"{len(train):,} samples, {tell_begin(steps, config.step_samples, began)}")
    if not began:
        sight = measure_sight(trainer.model, encoder, looked_at, arithmetic())
        watch.sight = sight
    with stop.heeding():
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint") if began else None)
    if stop.asked and trainer.state.global_step < steps:
        raise KeyboardInterrupt(stop.words)
    sight = measure_sight(trainer.model, encoder, looked_at, arithmetic())
    gathered = None
    if config.workers.strategy == "fsdp2":
        gathered = gather_weights(trainer.model, learned_only=not isinstance(config.tuning, FullTuning))
    history = [*trainer.state.log_history, {"step": steps, "sight": sight}]
    if not is_first():
        return {}
    metrics = list_metrics(history, config.step_samples)
    name = save_learned(model, processor, folder / "learned", config.model.weights, gathered)
    card, result = write_card(config, name, train, weights, metrics)
    publish(store, folder / "learned" / name, metrics, card, result, note)
    return result


def _make_validation(
    config: SftConfig, encoder: SampleEncoder, model: Any, arithmetic: Callable[[], Any]
) -> Callable[[], dict[str, float]]:
    """A measurement on the same samples each time, which the workers share between them."""
    assert config.validation is not None
    val = find_samples(config.data.uri, "val", config.storage)
    reader = SampleReader(val, config.storage, config.data.window)
    chosen = sorted(draw_places(len(val), config.validation.samples, config.seed))
    places = chosen[name_rank() :: count_workers()]
    parts = [places[start : start + config.batch] for start in range(0, len(places), config.batch)]
    # A layer that is shared out is gathered by all workers at once, so all make equally many forward passes.
    spare = max(gather(len(parts))) - len(parts) if config.workers.strategy == "fsdp2" else 0

    def validate() -> dict[str, float]:
        batches = (_encode(encoder, reader.read(part)) for part in parts)
        own = score_answers(model, batches, arithmetic())
        score_answers(model, [_encode(encoder, reader.read(chosen[:1]))] * spare, arithmetic())
        found = sum(gather(own), AnswerScores(0.0, 0, 0))
        return {
            "val_loss": found.loss / found.tokens,
            "val_token_accuracy": found.right / found.tokens,
            "val_tokens": found.tokens,
        }

    return validate


def _encode(encoder: SampleEncoder, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [encoder.encode_sample(sample) for sample in samples]
    return encoder.collate(rows, [f"sample {sample['sample_id']}" for sample in samples])
