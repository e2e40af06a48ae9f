"""The update of an iteration: what each worker does, from rewarded samples to the next adapters."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.types import Weights
from mira_batch.models.diffusion import Flow, check_pipeline_files, find_flow, find_lora_file, read_index
from mira_batch.models.torch_support import prepare
from mira_batch.storage.stores import open_store
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.editor.encode import EncodedReader
from mira_batch.train.editor.learner import NoiseSource, measure_sight
from mira_batch.train.grpo.groups import cut_minibatches
from mira_batch.train.nft.encode import EncodedSample, encode_samples
from mira_batch.train.nft.learner import NftLearner
from mira_batch.train.nft.record import Iteration
from mira_batch.train.optimizer import choose_arithmetic, dump_optimizer, find_device, make_optimizer
from mira_batch.train.record import name_begun
from mira_batch.train.workers import check_workers, count_workers, gather, ignore, is_first, name_rank

_EPOCHS = 64
"""More than there may be."""


def update_editor(settings: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Update the editor, as one of the workers; the first of them writes the adapters.

    Args:
        settings: `config`, an `EditorNftConfig` as JSON data, and `iteration`, from 0.
        note: told how it goes, for people.

    Returns:
        The figures of `update.json`.

    Raises:
        UserError: the editor can't be taught, it is blind, files are damaged, or gradients are no numbers any
            more.
    """
    prepare()
    config = EditorNftConfig.model_validate(settings["config"])
    check_workers(config.workers.num)
    store = open_store(config.output.uri, config.storage)
    files = Iteration(store, settings["iteration"])
    tell = note if is_first() else ignore
    folder = Path(tempfile.mkdtemp(prefix="mira-batch-update-"))
    began = time.monotonic()
    try:
        weights, flow, adapter = find_taught(config)
        if is_first():
            files.claim_base(name_begun(weights, adapter), "editor.weights or adapter")
        device = find_device(config.workers.gpus)
        samples = encode_samples(config, files, weights, flow, device, tell)
        encoded = time.monotonic()
        learner = NftLearner(config, weights, flow, device, files.before, adapter)
        state = files.before.read_bytes("optimizer.pt") if files.before else None
        done = files.number / config.iterations
        optimizer = make_optimizer(learner.weights, config.optimizer, done, state)
        figures: dict[str, Any] = {"steps": 0}
        if samples:
            batches = SampleBatches(
                config, files, samples, NoiseSource(config.times, config.seed, weights, flow)
            )
            figures |= _learn(config, learner, optimizer, batches, tell)
        figures["retention"] = learner.follow(files.number)
        if not is_first():
            return {}
        learner.save(folder)
        seconds = {"encode": encoded - began, "learn": time.monotonic() - encoded}
        files.put_update(folder, dump_optimizer(optimizer), figures | {"seconds": seconds})
        return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_editor(settings: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """See, as one of the workers, that the editor can be taught.

    Args:
        settings: an `EditorNftConfig` as JSON data.
        note: told how it goes, for people.

    Raises:
        ConfigError: as `find_taught`.
    """
    find_taught(EditorNftConfig.model_validate(settings))
    return {}


def find_taught(config: EditorNftConfig) -> tuple[Weights, Flow, Weights | None]:
    """The pipeline that learns, how its family is taught, and the adapter that is gone on with, if there is
    one.

    Args:
        config: of the training.

    Raises:
        ConfigError: it isn't there, can't be taught, or was distilled to few steps.
    """
    weights = fetch_weights(config.editor.weights, config.storage)
    path = Path(weights.path)
    check_pipeline_files(path, config.editor.pipeline)
    name = config.editor.pipeline.rpartition(".")[2]
    flow = find_flow(name, read_index(path), config.editor.prompt_options, config.force)
    if config.adapter is None:
        return weights, flow, None
    adapter = fetch_weights(config.adapter, config.storage)
    find_lora_file(Path(adapter.path), None, "adapter")
    return weights, flow, adapter


class SampleBatches:
    """Makes the arguments of forward passes of samples."""

    def __init__(
        self, config: EditorNftConfig, files: Iteration, samples: Sequence[EncodedSample], noise: NoiseSource
    ) -> None:
        """
        Args:
            config: of the training.
            files: of the iteration.
            samples: all that are learned from.
            noise: draws times and noise.
        """
        self.samples = samples
        self.number = files.number
        """Of the iteration, from 0."""
        self._each = config.batch
        self._reader = EncodedReader(files.store)
        self._noise = noise

    def cut(self, places: Sequence[int]) -> Iterator[list[int]]:
        """Batches of samples of one canvas, this worker's share of them.

        Args:
            places: of a step's samples.
        """
        by_canvas: dict[tuple[int, int], list[int]] = {}
        for place in places[name_rank() :: count_workers()]:
            by_canvas.setdefault(self.samples[place].canvas, []).append(place)
        for held in by_canvas.values():
            yield from (held[start : start + self._each] for start in range(0, len(held), self._each))

    def make(self, places: Sequence[int], epoch: int, learn: bool = True) -> dict[str, Any]:
        """Parts, times and noise of samples of one canvas. Times and noise depend on iteration, epoch and
        place alone.

        Args:
            places: which.
            epoch: from 0.
            learn: or measure.
        """
        keys = [(self.samples[place].question, self.samples[place].target) for place in places]
        parts = self._reader.read_parts(keys)
        numbers = [((self.number * _EPOCHS + epoch) << 32) + place for place in places]
        times, noise = self._noise.draw(parts, numbers, learn)
        return {"parts": parts, "times": times, "noise": noise}


def _learn(
    config: EditorNftConfig,
    learner: NftLearner,
    optimizer: Any,
    batches: SampleBatches,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """All epochs; the mean figures of their samples."""
    import torch

    count = len(batches.samples)
    some = min(config.sight_samples, count)
    looked_at = [number * count // some for number in range(some)]
    sight = measure_sight(
        learner.module,
        (batches.make([place], 0, learn=False) for place in looked_at),
        choose_arithmetic(config.precision, learner.device),
    )
    sums, norms = [0.0, 0.0, 0], list[float]()
    for epoch in range(config.epochs):
        for numbers in cut_minibatches(count, config.minibatch, config.seed, batches.number, epoch):
            for places in batches.cut(numbers.tolist()):
                optimality = torch.tensor([batches.samples[place].optimality for place in places])
                loss, drift = learner.backward(batches.make(places, epoch), optimality, len(numbers))
                sums = [sums[0] + loss, sums[1] + drift, sums[2] + len(places)]
            norms.append(learner.step(optimizer))
            note(f"iteration {batches.number + 1}: step {len(norms)}, gradient norm {norms[-1]:.4f}")
    loss, drift, learned = (sum(part) for part in zip(*gather(sums), strict=True))
    return {
        "steps": len(norms),
        "sight": sight,
        "loss": loss / learned,
        "drift": drift / learned if config.loss.drift_weight else None,
        "grad_norm": sum(norms) / len(norms),
        "learning_rate": optimizer.param_groups[0]["lr"],
    }
