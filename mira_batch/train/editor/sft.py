"""Teaching an editor by pairs: what each worker does, from the settings to what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.models.diffusion import Flow, check_pipeline_files, find_flow, read_index
from mira_batch.models.torch_support import prepare
from mira_batch.storage.stores import Store
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.checkpoints import fetch_newest
from mira_batch.train.editor.batches import plan_order
from mira_batch.train.editor.card import write_card
from mira_batch.train.editor.encode import Encoded, EncodedPair, EncodedReader, encode_pairs
from mira_batch.train.editor.learner import (
    NoiseSource,
    load_learner,
    measure_sight,
    save_learned,
    sum_losses,
)
from mira_batch.train.editor.pairs import find_pairs
from mira_batch.train.optimizer import choose_arithmetic
from mira_batch.train.record import claim_base, publish
from mira_batch.train.samples import draw_places
from mira_batch.train.steps import (
    Watch,
    guard_trainer,
    list_arguments,
    list_metrics,
    run_worker,
    take_one_device,
    tell_begin,
    watch_trainer,
)
from mira_batch.train.workers import count_workers, gather, is_first, name_rank


def train_editor(
    settings: Mapping[str, Any], note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train, as one of the workers, going on from the newest checkpoint; the first of them writes the result.

    Args:
        settings: an `EditorSftConfig` as JSON data.
        note: told how it goes, for people.
        stop: asks to end between two steps; with the only worker alone.

    Returns:
        The figures of `result.json`.

    Raises:
        UserError: settings, files or data are wrong, the model is blind, or its loss is no number any more.
    """
    return run_worker(EditorSftConfig.model_validate(settings), _train, note, stop)


def _train(
    config: EditorSftConfig, store: Store, folder: Path, note: Callable[[str], None], stop: StopRequest
) -> dict[str, Any]:
    prepare()
    weights = fetch_weights(config.editor.weights, config.storage)
    check_pipeline_files(Path(weights.path), config.editor.pipeline)
    name, index = config.editor.pipeline.rpartition(".")[2], read_index(Path(weights.path))
    flow = find_flow(name, index, config.editor.prompt_options)
    if is_first():
        claim_base(store, weights.identity, "editor.weights")
    arguments = _make_arguments(config, 1, folder / "own", flow)  # which also joins the workers
    encoded = encode_pairs(config, store, weights, flow, arguments.device, lambda: find_pairs(config), note)
    order = plan_order(config, encoded.train)
    steps = len(order) // config.step_samples
    unseen = len(encoded.train) - len(set(order.tolist()))
    if unseen:
        note(f"{unseen:,} pairs are in no step: it ends before, or too few of their size fill no batch")
    learner = load_learner(config, weights, flow, arguments.device)
    noise = NoiseSource(config.times, config.seed, weights, flow)
    batches = Batches(config, encoded, EncodedReader(store), noise)
    watch = Watch(config, store, steps, note, None, stop)
    trainer = guard_trainer(_import_trainer(), learner, watch)(
        learner,
        args=_make_arguments(config, steps, folder / "own", flow),
        train_dataset=[{"number": number, "place": int(place)} for number, place in enumerate(order)],
        data_collator=batches.collate,
    )
    trainer.loss_is_scaled_for_ga = False  # ours is a mean, whatever the step is made of
    watch_trainer(trainer, watch)
    arithmetic = partial(choose_arithmetic, config.precision, arguments.device)
    looked_at = _draw(encoded.train, config.sight_samples, config.seed)
    if config.validation is not None:
        drawn = _draw(encoded.val, config.validation.samples, config.seed)
        held_out = drawn[name_rank() :: count_workers()]

        def validate() -> dict[str, float]:
            own = sum_losses(trainer.model, batches.measure(held_out), arithmetic())
            loss, count = (sum(each) for each in zip(*gather(own), strict=True))
            return {"val_loss": loss / count, "val_pairs": count}

        watch.validate = validate
    (folder / "checkpoint").mkdir()
    found = fetch_newest(store, folder / "checkpoint", note)
    began = found.step if found else 0
    note(
        f"{len(encoded.train):,} pairs, {len(encoded.val):,} held out, "
        f"{sum(encoded.left_out.values()):,} left out; {tell_begin(steps, config.step_samples, began)}"
    )
    if not began:
        watch.sight = measure_sight(trainer.model, batches.measure(looked_at), arithmetic())
    with stop.heeding():
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint") if began else None)
    if stop.asked and trainer.state.global_step < steps:
        raise KeyboardInterrupt(stop.words)
    sight = measure_sight(trainer.model, batches.measure(looked_at), arithmetic())
    if not is_first():
        return {}
    metrics = list_metrics([*trainer.state.log_history, {"step": steps, "sight": sight}], config.step_samples)
    learned = save_learned(learner, config, weights, folder / "learned")
    card, result = write_card(config, learned.name, encoded, unseen, weights, metrics)
    publish(store, learned, metrics, card, result, note)
    return result


class Batches:
    """Makes the arguments of forward passes, for learning and for measuring."""

    def __init__(
        self, config: EditorSftConfig, encoded: Encoded, reader: EncodedReader, noise: NoiseSource
    ) -> None:
        """
        Args:
            config: of the training.
            encoded: its pairs.
            reader: of their files.
            noise: draws times and noise.
        """
        self._config = config
        self._encoded = encoded
        self._reader = reader
        self._noise = noise

    def collate(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """A batch to learn from.

        Args:
            rows: the `place` of each pair, and its `number` in the order of all.
        """
        pairs = [self._encoded.train[row["place"]] for row in rows]
        return self._make(pairs, [row["number"] for row in rows], learn=True)

    def measure(self, pairs: Iterable[EncodedPair]) -> Iterator[dict[str, Any]]:
        """Batches of one pair each, with noise that is the same each time.

        Args:
            pairs: any.
        """
        for pair in pairs:
            yield self._make([pair], [int(pair.key.rpartition("/")[2][:16], 16)], learn=False)

    def _make(self, pairs: Sequence[EncodedPair], numbers: Sequence[int], learn: bool) -> dict[str, Any]:
        parts = self._reader.read(pairs)
        times, noise = self._noise.draw(parts, numbers, learn)
        return {"parts": parts, "times": times, "noise": noise}


def _draw(pairs: Sequence[EncodedPair], most: int, seed: int) -> list[EncodedPair]:
    """Some of the pairs, whatever order they lie in, the same ones each time."""
    return [pairs[place] for place in sorted(draw_places(len(pairs), most, seed))]


def _import_trainer() -> Any:
    from transformers import Trainer

    return Trainer


def _make_arguments(config: EditorSftConfig, steps: int, folder: Path, flow: Flow) -> Any:
    """The trainer's settings. What is not set here is transformers' default."""
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        **list_arguments(config, steps, folder),
        ddp_find_unused_parameters=flow.rests,
        dataloader_pin_memory=config.workers.gpus > 0,
    )
    take_one_device(arguments)
    return arguments
